"""Lines of the log, of the control plane and of agents: JSON for machines or text for people, and what they are about.

Whoever begins to work on a request, a send or a server says so once (`about`), and each line that is written
meanwhile, by whatever module or library, names it. Addresses of people, keys, and passwords in URLs are taken out of
every line, also out of what exceptions quote: nobody who writes a line has to think of that.
"""

import json
import logging
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

_REQUEST: ContextVar[str | None] = ContextVar("request_id", default=None)
_SEND: ContextVar[str | None] = ContextVar("send_id", default=None)
_SERVER: ContextVar[str | None] = ContextVar("server_id", default=None)
_KNOWN = {"request_id": _REQUEST, "send_id": _SEND, "server_id": _SERVER}
#: What all lines of this process are about.
_HERE: dict[str, str] = {}

_TAKEN_OUT = (
    (re.compile(r"(?<=://)[^\s/@]+@"), "[secret]@"),
    (re.compile(r"\b(?:pmk|pmo|pmr|whsec)_[A-Za-z0-9_+/=-]{8,}"), "[secret]"),
    (re.compile(r"\b(Bearer|Basic) [A-Za-z0-9._~+/=-]{8,}"), r"\1 [secret]"),
)
#: A word, with what makes it an address. Whole words, each looked at once: looked for from each of a word's characters,
#: `@` would take the square of its length, and whoever asks us for something may make one as long as they like.
_WORD = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+(@[\w-]+(?:\.[\w-]+)+)?")
#: What syslog calls the levels (syslog(3)).
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
_DEBUG_PRIORITY = 7
_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def be_server(server_id: str) -> None:
    """Name in each line of this process the server that it runs on."""
    _HERE["server_id"] = server_id


@contextmanager
def about(
    *, request_id: str | None = None, send_id: uuid.UUID | None = None, server_id: uuid.UUID | None = None
) -> Iterator[None]:
    """Name in each line of this task, and of those that it begins, what it is about."""
    told = ((_REQUEST, request_id), (_SEND, send_id), (_SERVER, server_id))
    tokens = [(variable, variable.set(str(value))) for variable, value in told if value is not None]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def request_in_hand() -> str | None:
    """Return the name of the request that is worked on, if any."""
    return _REQUEST.get()


class TextLines(logging.Formatter):
    """For people."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        known = "".join(f" {name}={value}" for name, value in _known())
        return clean(super().format(record)) + known


class JsonLines(logging.Formatter):
    """For machines: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
            **dict(_known()),
        }
        if record.exc_info:
            line["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class JournalLines(logging.Formatter):
    """For systemd's journal: the line with its priority before it, which the journal takes off (sd-daemon(3))."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"<{_PRIORITIES.get(record.levelno, _DEBUG_PRIORITY)}>{self._lines.format(record)}"


def clean(words: str) -> str:
    """Return the words without people's addresses and without what opens a door."""
    for pattern, instead in _TAKEN_OUT:
        words = pattern.sub(instead, words)
    return _WORD.sub(lambda word: "[address]" if word[1] else word[0], words) if "@" in words else words


def start_logging(form: Literal["json", "text"]) -> None:
    """Write every line of this process to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    lines = JsonLines() if form == "json" else TextLines()
    handler.setFormatter(JournalLines(lines) if _is_journal(sys.stderr.fileno()) else lines)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # httpx tells of each request with its whole URL.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _known() -> Iterator[tuple[str, str]]:
    for name, variable in _KNOWN.items():
        if (value := variable.get() or _HERE.get(name)) is not None:
            yield name, value


def _is_journal(descriptor: int) -> bool:
    """Whether what is written there goes to systemd's journal (systemd.exec(5), $JOURNAL_STREAM)."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
