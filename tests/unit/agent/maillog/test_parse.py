import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.journal.facts import Accepted, Attempt, GaveUp, HasMessageId, Marker, MasterStarted, Removed, Verdict
from agent.maillog.parse import MARKER, Began, CutOff, Ended, Entry, MalformedLine, parse_line
from agent.relay import settle

NOW = 1_795_000_000_000
HEAD = "Nov 21 21:14:44 mail postfix/smtp[349]: "
REAL = Path(__file__).with_name("postfix-3.7.11.log")
DELIVERED = (
    HEAD + "4jX4hz6SLnzCy: to=<a@b.test>, relay=mx.b.test[192.0.2.1]:25, delay=0.3, delays=0.29/0.01/0/0, dsn=2.0.0,"
    " status=sent (250 2.0.0 Ok: queued as 12345)"
)


def parsed(line: str) -> Entry | None:
    return parse_line(line, NOW)


def attempt(line: str) -> Attempt:
    entry = parsed(line)
    assert isinstance(entry, Attempt)
    return entry


def test_a_real_log_tells_the_whole_story_of_its_messages() -> None:
    entries = [entry for line in REAL.read_text().splitlines() if (entry := parsed(line))]
    told = [(type(entry).__name__, getattr(entry, "queue_id", None)) for entry in entries]
    first = [name for name, queue_id in told if queue_id == "4jX4hz6SLnzCy"]
    assert first == ["Began", "HasMessageId", "Accepted", "Attempt", "Removed"]
    # Cut in the middle of the message: its Message-ID is logged after the session's end.
    cut = [each for each in told if each[1] in {None, "4jX4j30kMFzD2"}]
    assert ("Began", "4jX4j30kMFzD2") in cut
    assert cut.index(("CutOff", None)) < cut.index(("HasMessageId", "4jX4j30kMFzD2"))
    assert ("Accepted", "4jX4j30kMFzD2") not in told
    assert sum(isinstance(entry, CutOff) for entry in entries) == 3


def test_a_master_that_starts_is_heard_and_nobody_else_can_say_so() -> None:
    lines = REAL.read_text().splitlines()
    assert [number for number, line in enumerate(lines) if parsed(line) == MasterStarted()] == [1]
    assert parsed(HEAD + "warning: mx.b.test[192.0.2.1] said: daemon started -- version 3.7.11") is None


def test_the_message_id_of_a_send_is_its_id() -> None:
    send_id = uuid.uuid4()
    line = f"Nov 21 21:14:44 mail postfix/cleanup[348]: 4jX4hz6SLnzCy: message-id=<{send_id}@x.test>"
    assert parsed(line) == HasMessageId("4jX4hz6SLnzCy", send_id.bytes)
    assert parsed(line.replace(str(send_id), "somebody.else")) is None


@pytest.mark.parametrize(
    "daemon", ["smtp", "lmtp", "local", "virtual", "pipe", "error", "discard", "relay/smtp", "slow/retry"]
)
def test_every_delivering_daemon_is_heard(daemon: str) -> None:
    assert attempt(DELIVERED.replace("postfix/smtp", f"postfix/{daemon}")).verdict is Verdict.SENT


def test_an_attempt_has_the_remote_reply() -> None:
    entry = attempt(DELIVERED)
    assert (entry.queue_id, entry.recipient, entry.relay) == ("4jX4hz6SLnzCy", "a@b.test", "mx.b.test[192.0.2.1]:25")
    assert (entry.enhanced_status, entry.text, entry.delay_seconds) == ("2.0.0", "250 2.0.0 Ok: queued as 12345", 0.3)


@pytest.mark.parametrize(
    "fields",
    [
        "orig_to=<alias@b.test>, relay=mx.b.test[192.0.2.1]:25, conn_use=2, delay=0.3, delays=0/0/0/0, dsn=2.0.0",
        "relay=mx.b.test[192.0.2.1]:25, tls=verified/TLSv1.3, delay=0.3, delays=0/0/0/0, dsn=2.0.0, tls_level=dane",
        "dsn=2.0.0, delay=0.3, relay=mx.b.test[192.0.2.1]:25",
    ],
)
def test_fields_are_found_by_name_wherever_they_are(fields: str) -> None:
    entry = attempt(f"{HEAD}4jX4hz6SLnzCy: to=<a@b.test>, {fields}, status=deferred (later)")
    assert (entry.relay, entry.enhanced_status, entry.delay_seconds) == ("mx.b.test[192.0.2.1]:25", "2.0.0", 0.3)
    assert entry.verdict is Verdict.DEFERRED


def test_both_kinds_of_stamp_and_of_queue_id_are_read() -> None:
    for line in (
        DELIVERED.replace("Nov 21 21:14:44", "2026-11-21T21:14:44.123456+00:00"),
        DELIVERED.replace("Nov 21 21:14:44", "Nov  1 21:14:44"),
        DELIVERED.replace("4jX4hz6SLnzCy", "A1B2C3D4E5"),
    ):
        assert attempt(line).verdict is Verdict.SENT


@pytest.mark.parametrize("recipient", ['"a>, relay=x, status=sent (b"@b.test', '"with space"@b.test', '"\\""@b.test'])
def test_a_quoted_recipient_cannot_pretend_to_be_fields(recipient: str) -> None:
    line = DELIVERED.replace("status=sent", "status=bounced").replace("a@b.test", recipient)
    assert attempt(line).recipient == recipient
    assert attempt(line).verdict is Verdict.BOUNCED


def test_a_reply_cannot_pretend_to_be_another_outcome() -> None:
    forged = "550 no (to=<x@y>, status=sent (ok)) Nov 21 21:14:44 mail postfix/smtp[9]: 4jX4hz6SLnzCx: removed"
    entry = attempt(DELIVERED.replace("status=sent (250 2.0.0 Ok: queued as 12345)", f"status=bounced ({forged})"))
    assert (entry.queue_id, entry.verdict, entry.text) == ("4jX4hz6SLnzCy", Verdict.BOUNCED, forged)


def test_answers_to_probes_concern_no_message() -> None:
    assert parsed(DELIVERED.replace("status=sent", "status=deliverable")) is None


def test_the_queue_manager_is_heard() -> None:
    head = "Nov 21 21:14:44 mail postfix/qmgr[301]: 4jX4hz6SLnzCy: "
    active = parsed(head + "from=<s@x.test>, size=297, nrcpt=1 (queue active)")
    gone = parsed(head + "from=<s@x.test>, status=expired, returned to sender")
    forced = parsed(head + "from=<s@x.test>, status=force-expired, returned to sender")
    assert [type(each) for each in (active, gone, forced)] == [Accepted, GaveUp, GaveUp]
    assert isinstance(parsed(head + "removed"), Removed)
    assert isinstance(parsed("Nov 21 21:14:44 mail postfix/postsuper[9]: 4jX4hz6SLnzCy: removed"), Removed)


def test_sessions_from_elsewhere_say_nothing() -> None:
    head = "Nov 21 21:14:44 mail postfix/smtpd[345]: "
    for line in (
        "4jX4hz6SLnzCy: client=mx.elsewhere.test[192.0.2.9]",
        "lost connection after DATA (77 bytes) from mx.elsewhere.test[192.0.2.9]",
        "disconnect from mx.elsewhere.test[192.0.2.9] ehlo=1 mail=1",
        "lost connection after END-OF-MESSAGE from localhost[127.0.0.1]",
    ):
        assert parsed(head + line) is None


def test_our_sessions_are_heard() -> None:
    head = "Nov 21 21:14:44 mail postfix/injection/smtpd[345]: "
    assert parsed(head + "4jX4hz6SLnzCy: client=localhost[127.0.0.1]") == Began("345", "4jX4hz6SLnzCy")
    assert parsed(head + "lost connection after DATA (77 bytes) from localhost[127.0.0.1]") == CutOff("345")
    assert parsed(head + "timeout after DATA (77 bytes) from localhost[127.0.0.1]") == CutOff("345")
    assert parsed(head + "disconnect from localhost[127.0.0.1] ehlo=1 data=0/1 commands=3/4") == Ended("345")


def test_the_relay_and_the_log_agree_on_the_marker() -> None:
    assert MARKER == settle.MARKER
    token = "0123456789abcdef" * 2
    line = f"warning: Illegal address syntax from localhost[127.0.0.1] in MAIL command: <{settle.MARKER} {token}>"
    assert parsed("Nov 21 21:14:44 mail postfix/smtpd[345]: " + line) == Marker(token)


def test_a_line_of_another_program_says_nothing() -> None:
    for line in ("Nov 21 21:14:44 mail dovecot: lmtp(9): disconnect from local", "", "rubbish", "client=x: removed"):
        assert parsed(line) is None


@given(st.integers(1, len(DELIVERED) - 1))
def test_a_line_cut_by_a_crash_never_tells_the_outcome_of_another(cut: int) -> None:
    """Whatever is left of one line runs into the next one: it may tell nothing, or the truth about the first."""
    second = DELIVERED.replace("4jX4hz6SLnzCy", "4jX4j01N5GzD0").replace("status=sent", "status=bounced")
    try:
        entry = parsed(DELIVERED[:cut] + second)
    except MalformedLine:
        return
    if entry is not None:
        assert isinstance(entry, Attempt)
        assert (entry.queue_id, entry.verdict) == ("4jX4hz6SLnzCy", Verdict.SENT)


@pytest.mark.parametrize(
    "line",
    [
        "from=<s@x.test>, size=297, nrcpt=1 (queue active)",
        "from=<s@x.test>, status=expired, returned to sender",
        "removed",
    ],
)
@given(data=st.data())
def test_a_cut_line_of_the_queue_manager_tells_nothing_of_the_next(line: str, data: st.DataObject) -> None:
    head = "Nov 21 21:14:44 mail postfix/qmgr[301]: "
    first = head + "4jX4hz6SLnzCy: from=<s@x.test>, status=expired, returned to sender"
    cut = data.draw(st.integers(1, len(first) - 1))
    try:
        entry = parsed(first[:cut] + head + "4jX4j01N5GzD0: " + line)
    except MalformedLine:
        return
    assert entry is None


@given(st.text(max_size=200))
def test_any_text_is_parsed_set_aside_or_passed_over(text: str) -> None:
    for line in (text, HEAD + text, HEAD + "4jX4hz6SLnzCy: to=<" + text, DELIVERED[:-10] + text):
        try:
            parsed(line)
        except MalformedLine:
            continue


addresses = st.from_regex(r"[a-z0-9.+-]{1,20}@[a-z0-9.-]{1,20}", fullmatch=True)


@given(
    addresses,
    st.from_regex(r"[a-z0-9.-]{1,20}\[[0-9.]{7}\]:25|none|mail\[private/dovecot-lmtp\]", fullmatch=True),
    st.from_regex(r"[245]\.\d{1,3}\.\d{1,3}", fullmatch=True),
    st.sampled_from(["sent", "deferred", "bounced"]),
    st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80),
)
def test_what_postfix_writes_is_read_back(recipient: str, relay: str, dsn: str, status: str, text: str) -> None:
    entry = attempt(
        f"{HEAD}4jX4hz6SLnzCy: to=<{recipient}>, relay={relay}, delay=0.3, delays=0/0/0/0, dsn={dsn},"
        f" status={status} ({text})"
    )
    assert (entry.recipient, entry.relay, entry.enhanced_status) == (recipient, relay, dsn)
    assert (entry.verdict.value, entry.text) == (status, text)
