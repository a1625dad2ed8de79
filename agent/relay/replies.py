"""SMTP replies out of bytes as they come (RFC 5321 §4.2). Pure, and strict: the other side is our own Postfix."""

import re
from dataclasses import dataclass

_MOST_LINES = 100
#: Longest line, with its end: far beyond RFC 5321's 512 octets.
_LONGEST_LINE = 64 * 1024
_LINE = re.compile(rb"([2-5]\d\d)([ -])(.*)", re.DOTALL)
_QUEUED_AS = re.compile(r"2\.0\.0 Ok: queued as ([0-9A-Za-z]+)")


class NoSmtp(ValueError):
    """What came is no reply; the message says in which way."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What Postfix said: the code, and the text of all lines joined."""

    code: int
    text: str

    @property
    def queue_id(self) -> str | None:
        """The queue id in the reply to a message that was accepted."""
        found = _QUEUED_AS.search(self.text)
        return found[1] if found else None


class ReplyReader:
    """Collects bytes and gives whole replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._texts: list[str] = []

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that `data` completes.

        Raises:
            NoSmtp: this is none; whoever fed it must not feed more.

        """
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        if len(self._rest) > _LONGEST_LINE:
            raise NoSmtp("it sent a line without end")
        return [reply for line in lines if (reply := self._take(line)) is not None]

    def _take(self, line: bytes) -> Reply | None:
        found = _LINE.fullmatch(line)
        if found is None or (self._texts and found[1] != self._code):
            raise NoSmtp("it spoke no SMTP")
        self._code = found[1]
        self._texts.append(found[3].decode("utf-8", "replace"))
        if found[2] == b" ":
            reply = Reply(int(self._code), " ".join(self._texts))
            self._texts = []
            return reply
        if len(self._texts) >= _MOST_LINES:
            raise NoSmtp("it sent a reply without end")
        return None
