"""One line of the mail log: what it says about a send, or about the SMTP session that a send came by.

Pure. A substring test comes before the one regex, since most lines say nothing we need. Every field is looked up by its
name, because Postfix adds fields over time (3.11: `tls=`). Postfix replaces unprintable bytes in what it logs, so a
remote server can put any text into its own reply and nothing anywhere else; a reply is therefore never searched.
"""

import re
import uuid
from dataclasses import dataclass

from agent.journal.facts import Accepted, Attempt, GaveUp, HasMessageId, Marker, MasterStarted, Removed, Verdict
from agent.maillog.stamp import logged_ms


class MalformedLine(ValueError):
    """The line looks like one of ours and cannot be read."""


@dataclass(frozen=True, slots=True)
class Began:
    """An SMTP server process has this message in hand."""

    pid: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class CutOff:
    """The client of an SMTP server process went away in the middle of a message."""

    pid: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An SMTP server process has ended its session."""

    pid: str


Entry = HasMessageId | Accepted | Attempt | GaveUp | Removed | Marker | MasterStarted | Began | CutOff | Ended

#: What `relay` has Postfix log to see how far the log has been read: an address that is none.
MARKER = "penguin-marker"

_INTERESTING = (
    ": to=<",
    " message-id=<",
    "(queue active)",
    ": removed",
    "expired, returned to sender",
    ": client=",
    " after DATA ",
    "disconnect from ",
    ": daemon started",
    MARKER,
)
#: The daemons that deliver, or stand in for one that does.
_DELIVERS = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "error", "retry", "discard"})
_LINE = re.compile(
    r"(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)) \S+ "
    r"\S+/(?P<daemon>[a-z]+)\[(?P<pid>\d+)\]: "
    r"(?:(?P<queue_id>[0-9A-F]{6,20}|[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,24}): )?(?P<says>.*)"
)
_ADDRESS = r'<((?:"(?:[^"\\]|\\.)*"|[^"<> ])*)>'
_MESSAGE_ID = re.compile(r"message-id=<([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})@[^<> ]*>")
_CLIENT = re.compile(r"client=\S*\[127\.0\.0\.1\].*")
_CUT_OFF = re.compile(r"(?:lost connection|timeout) after DATA \(\d+ bytes\) from \S*\[127\.0\.0\.1\]\S*")
_ENDED = re.compile(r"disconnect from \S*\[127\.0\.0\.1\].*")
_MARKED = re.compile(r"warning: Illegal address syntax from \S+ in MAIL command: <" + MARKER + r" ([0-9a-f]{32})>")
_ACTIVE = re.compile(rf"from={_ADDRESS}, .*\(queue active\)")
_GAVE_UP = re.compile(rf"from={_ADDRESS}, status=(?:force-)?expired, returned to sender")
_ATTEMPT = re.compile(rf"to={_ADDRESS}, (?P<fields>.*?), status=(?P<status>[A-Za-z-]+) \((?P<text>.*)")
_FIELD = re.compile(r"([a-z_]+)=(.*)")
#: Ends the head of every line, and occurs nowhere after it but in text from outside.
_ANOTHER = "]: "
_VERDICTS = {
    "sent": Verdict.SENT,
    "deferred": Verdict.DEFERRED,
    # With soft_bounce: refused for good, and Postfix tries again all the same.
    "SOFTBOUNCE": Verdict.DEFERRED,
    "bounced": Verdict.BOUNCED,
}
#: Answers to address probes, which concern no message.
_PROBED = frozenset({"deliverable", "undeliverable"})


def parse_line(line: str, now_ms: int) -> Entry | None:
    """Return what `line` (without its end) says, or None when it says nothing we need.

    Raises:
        MalformedLine: it is cut, or two lines run together.

    """
    if not any(word in line for word in _INTERESTING):
        return None
    head = _LINE.fullmatch(line)
    if head is None:
        if "postfix" in line:
            raise MalformedLine(line)
        return None
    try:
        return _read(head, now_ms)
    except ValueError as error:
        raise MalformedLine(line) from error


def _read(head: re.Match[str], now_ms: int) -> Entry | None:
    stamp, daemon, pid, queue_id, says = head.groups()
    if queue_id is None:
        return _read_session(pid, says) if daemon == "smtpd" else _read_master(daemon, says)
    if daemon == "smtpd":
        return Began(pid, queue_id) if _CLIENT.fullmatch(says) else None
    if daemon == "cleanup":
        found = _MESSAGE_ID.fullmatch(says)
        return HasMessageId(queue_id, uuid.UUID(found[1]).bytes) if found else None
    if daemon in {"qmgr", "postsuper"}:
        return _read_queue(queue_id, says, logged_ms(stamp, now_ms))
    if daemon in _DELIVERS and says.startswith("to=<"):
        return _read_attempt(queue_id, says, logged_ms(stamp, now_ms))
    return None


def _read_master(daemon: str, says: str) -> MasterStarted | None:
    return MasterStarted() if daemon == "master" and says.startswith("daemon started") else None


def _read_session(pid: str, says: str) -> Entry | None:
    if _CUT_OFF.fullmatch(says):
        return CutOff(pid)
    if _ENDED.fullmatch(says):
        return Ended(pid)
    marked = _MARKED.fullmatch(says)
    return Marker(marked[1]) if marked else None


def _read_queue(queue_id: str, says: str, at_ms: int) -> Entry | None:
    if _ANOTHER in says:
        raise ValueError("two lines run together")
    if says == "removed":
        return Removed(queue_id, at_ms)
    if _ACTIVE.fullmatch(says):
        return Accepted(queue_id, at_ms)
    return GaveUp(queue_id, at_ms) if _GAVE_UP.fullmatch(says) else None


def _read_attempt(queue_id: str, says: str, at_ms: int) -> Attempt | None:
    found = _ATTEMPT.fullmatch(says)
    if found is None or _ANOTHER in found["fields"]:
        raise ValueError("cut short")
    if found["status"] in _PROBED:
        return None
    if found["status"] not in _VERDICTS:
        raise ValueError("unknown status")
    fields = _read_fields(found["fields"])
    return Attempt(
        queue_id=queue_id,
        at_ms=at_ms,
        verdict=_VERDICTS[found["status"]],
        recipient=found[1],
        relay=fields.get("relay", ""),
        enhanced_status=fields.get("dsn", ""),
        text=found["text"].removesuffix(")"),
        delay_seconds=float(fields.get("delay", 0)),
    )


def _read_fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for part in text.split(", "):
        field = _FIELD.fullmatch(part)
        if field is None or field[1] in fields:
            raise ValueError("no list of fields")
        fields[field[1]] = field[2]
    return fields
