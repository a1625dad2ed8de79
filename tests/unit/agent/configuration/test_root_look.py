"""What root alone sees of the mail server; Dovecot's lines are of Debian 12 and 13."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.configuration.root_half import answer
from agent.configuration.root_look import count_logins
from mailstack.checking import CommandOutput
from protos.agent.v1.root_half_pb2 import LookAtMail, MailSeen, RootRequest
from tests.fakes.host import FakeHost

FROM = "rip=10.77.1.2, lip=10.77.1.2"
LINES = f"""\
imap-login: Login: user=<a@shop.example>, method=PLAIN, {FROM}, mpid=644, TLS, session=<YtWl8NlgxNoKTQEC>
imap-login: Logged in: user=<a@shop.example>, method=PLAIN, {FROM}, mpid=644, TLS, session=<YtWl8NlgxNoKTQEC>
imap-login: Disconnected: Connection closed (auth failed, 2 attempts in 7 secs): user=<a@shop.example>, {FROM}, TLS
imap-login: Disconnected: Aborted login by logging out (auth failed, 1 attempts in 2 secs): user=<>, {FROM}, TLS
imap-login: Login aborted: Connection closed (auth failed, 3 attempts in 9 secs) (auth_failed): user=<b>, {FROM}, TLS
imap-login: Disconnected: Aborted login by logging out (no auth attempts in 0 secs): user=<>, {FROM}, TLS
imap-login: Login aborted: Connection closed (no auth attempts in 1 secs) (no_auth_attempts): user=<>, {FROM}
imap(a@shop.example)<644><YtWl8NlgxNoKTQEC>: Disconnected: Logged out in=216 out=1120 deleted=1 expunged=1
"""
SINCE_US = 1_795_262_400_000_042


class MailHost(FakeHost):
    """A server with a journal, and with damaged messages."""

    def __init__(self, journal: CommandOutput, corrupt: CommandOutput) -> None:
        super().__init__()
        self.says = {"journalctl": journal, "find": corrupt}
        self.asked: list[Sequence[str]] = []

    def run(self, argv: Sequence[str]) -> CommandOutput:
        self.asked.append(argv)
        return self.says[argv[0]]


def look(host: FakeHost) -> MailSeen:
    return answer(RootRequest(look_at_mail=LookAtMail(logins_since_us=SINCE_US)), host).mail_seen


def test_each_log_in_and_each_attempt_that_failed_counts() -> None:
    assert count_logins(LINES) == (2, 6)


@given(st.text(alphabet="abc <>:(),=\\123"), st.sampled_from(["Login", "Logged in", "Disconnected"]))
def test_who_names_himself_like_a_line_counts_once(name: str, begins: str) -> None:
    words = f"(auth failed, 9 attempts in 9 secs): imap-login: Login: user=<{name}"
    counted = (0, 0) if begins == "Disconnected" else (1, 0)
    assert count_logins(f"imap-login: {begins}: user=<{name}{words}>, method=PLAIN\n") == counted


def test_the_journal_is_asked_for_the_time_since_the_last_look_and_damaged_messages_are_counted() -> None:
    host = MailHost(CommandOutput(0, LINES, ""), CommandOutput(0, "..", ""))
    seen = look(host)
    until_us = int(host.now().timestamp()) * 1_000_000
    assert (seen.logins.succeeded, seen.logins.failed, seen.logins.until_us, seen.corrupt) == (2, 6, until_us, 2)
    journal, found = host.asked
    assert "--since=@1795262400.000042" in journal
    [until] = [re.fullmatch(r"--until=@(\d+)\.(\d{6})", each) for each in journal if each.startswith("--until")]
    assert until is not None
    assert int(until[1]) * 1_000_000 + int(until[2]) == until_us - 1
    assert "/var/spool/postfix/corrupt" in found


@pytest.mark.parametrize(
    ("journal", "logins"),
    [
        # It finds nothing, and says so by its exit status.
        (CommandOutput(1, "", ""), (True, 0)),
        (CommandOutput(1, "", "--since= must be before --until=."), (False, 0)),
        (CommandOutput(-1, "", "is not installed"), (False, 0)),
    ],
)
def test_what_cannot_be_told_is_left_out(journal: CommandOutput, logins: tuple[bool, int]) -> None:
    seen = look(MailHost(journal, CommandOutput(1, "", "find: no such directory")))
    assert (seen.HasField("logins"), seen.logins.succeeded) == logins
    assert not seen.HasField("corrupt")
