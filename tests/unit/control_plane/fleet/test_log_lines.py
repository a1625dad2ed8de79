import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.fleet.log_lines import masked


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "dovecot: auth: user=<a@b.example>, given password: hunter2)",
            "dovecot: auth: user=<a@b.example>, given password: [masked])",
        ),
        ('auth: password="two words" failed', "auth: password=[masked] failed"),
        ("smtpd: < mx[192.0.2.1]: AUTH PLAIN AGFAYgBodW50ZXIy", "smtpd: < mx[192.0.2.1]: AUTH PLAIN [masked]"),
        ("auth: hash {ARGON2ID}$argon2id$v=19$m=19456$abc", "auth: hash {ARGON2ID}[masked]"),
        ("login with pmk_abc_def_ghi", "login with pmk_[masked]"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [masked]"),
    ],
)
def test_what_could_be_a_secret_is_masked(line: str, shown: str) -> None:
    assert masked(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "Nov 22 00:01:02 mx1 postfix/smtp[7]: 4dZc: to=<a@b.example>, dsn=2.0.0, status=sent (250 2.0.0 Ok)",
        "dovecot: imap-login: Login: user=<a@b.example>, method=PLAIN, rip=192.0.2.1, TLS, session=<abc+def/gh>",
        "postfix/smtpd[9]: NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 450 4.7.1 <x>: Helo command rejected",
    ],
)
def test_what_logs_say_every_day_is_left(line: str) -> None:
    assert masked(line) == line


@given(st.text(alphabet=st.characters(blacklist_categories=["Zs", "Cc"], blacklist_characters="\"',;)>"), min_size=1))
def test_no_password_is_shown_whatever_it_is(password: str) -> None:
    shown = masked(f"given password={password}")
    assert shown == "given password=[masked]"
