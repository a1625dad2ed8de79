"""What an answer of Hostwinds' says: pure. HTTP's status is 200 for errors, too, and there are three shapes.

    [{"result": "success", "action": ..., "message": ...}, ...]     deeds; errors so, with "ERROR": a number
    {"success": {...} | [...] | true}                                facts; errors as {"error": ...}
    [{...}, ...] or {...}                                            things themselves

A key that is unknown, or used from another address than the one it is bound to, is answered with words alone. Read from
transcripts of the documentation (developers.hostwinds.com/cloud); not verified live.
"""

import json
from collections.abc import Mapping
from typing import Any

_LONGEST_WORDS = 300


class Unreadable(Exception):
    """The answer is none of the shapes: what was asked for may have been done."""


class Refusal(Exception):
    """Hostwinds said no. `partly_done` is true when the same answer also reports something as done."""

    def __init__(self, message: str, code: str | None = None, *, partly_done: bool = False) -> None:
        super().__init__(f"Hostwinds: {message}" + (f" [{code}]" if code else ""))
        self.partly_done = partly_done


def read_envelope(content: bytes) -> list[Mapping[str, Any]]:
    """Return the objects in an answer; raise `Refusal` or `Unreadable`."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = content.decode(errors="replace")
    if isinstance(answer, str):
        if "not authorized" in answer.lower():
            raise Refusal("Not Authorized!")
        raise Unreadable
    if isinstance(answer, dict) and "success" in answer:
        return _objects(answer["success"])
    if isinstance(answer, dict) and "error" in answer:
        raise Refusal(_words(answer["error"]))
    entries = _objects(answer)
    errors = [entry for entry in entries if entry.get("result") == "error"]
    if errors:
        code = errors[0].get("ERROR")
        partly = any(entry.get("result") == "success" for entry in entries)
        raise Refusal(_words(errors[0].get("message")), str(code) if code else None, partly_done=partly)
    return entries


def _objects(value: object) -> list[Mapping[str, Any]]:
    """Return objects that come alone, in a list, or by number."""
    if value is True:
        return []
    if isinstance(value, dict) and value and all(isinstance(each, dict) for each in value.values()):
        value = list(value.values())
    found = [value] if isinstance(value, dict) else value
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Unreadable
    return found


def _words(message: object) -> str:
    return str(message or "no reason was given")[:_LONGEST_WORDS]
