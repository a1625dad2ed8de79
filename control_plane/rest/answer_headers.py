"""Say in OpenAPI which headers come with an answer: here alone, for both doors, and what is true of each.

Much of it follows from what else the document says. What takes If-None-Match shows something that has an ETag; what
takes Idempotency-Key may answer as it did before.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from control_plane.rest.kept_answers import HEADER as KEY
from control_plane.rest.kept_answers import REPLAYED
from control_plane.rest.problems import MEDIA_TYPE, PROBLEM
from control_plane.rest.request_id import REQUEST_ID

_Object = dict[str, Any]

_COUNTS = ("RateLimit", "RateLimit-Policy")
_HEADERS: Mapping[str, _Object] = {
    REQUEST_ID: {
        "description": "The request's name, in our logs too.",
        "required": True,
        "schema": {"type": "string"},
        "example": "3f2c9a1be8d74f0b9c55d1c0a7e2b614",
    },
    "RateLimit": {
        "description": "Of the limit that is nearest: whose, how many requests are left, and the seconds until it is"
        " whole again (draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"key";r=2999;t=42',
    },
    "RateLimit-Policy": {
        "description": "The limits for requests of this kind: whose, how many, and in how many seconds.",
        "schema": {"type": "string"},
        "example": '"key";q=3000;w=60, "tenant";q=15000;w=60, "address";q=6000;w=60',
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}, "example": 5},
    "ETag": {
        "description": "Of this answer, for If-None-Match and, where that is taken, If-Match.",
        "schema": {"type": "string"},
        "example": '"5d41402abc4b2a76.7d793037a0760186"',
    },
    "Location": {"description": "Where it is.", "schema": {"type": "string"}},
    REPLAYED: {
        "description": "The request was answered before, under the same key; this is that answer.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}

#: Beside the problems that are told by their types: those of which all say when to try again.
_REFUSALS = {
    "429": ("TooManyRequests", "A limit is reached."),
    "503": ("Unavailable", "A part that this needs is away."),
}

#: What is made and has no place of its own.
_WITHOUT_PLACE = frozenset({"/api/v1/auth/passkeys:finish", "/api/v1/auth/totp", "/api/v1/auth/verify-email"})
#: What is begun, and where one looks how far it has come.
_BEGUN_AT_A_PLACE = frozenset(
    {
        "/api/v1/data-subjects:erase",
        "/api/v1/inboxes/{inbox_id}/messages",
        "/api/v1/messages/{message_id}/resend",
        "/api/v1/vps/{vps_id}/addresses",
        "/api/v1/vps/{vps_id}/certificate:renew",
        "/api/v1/vps/{vps_id}/mail-backups:run",
        "/api/v1/vps/{vps_id}/mail-server/restart",
        "/api/v1/vps/{vps_id}/power",
        "/api/v1/vps/{vps_id}/rebuild",
        "/operator/v1/vps/{vps_id}/commands",
    }
)


def describe_answer_headers(document: _Object, *, counted: bool) -> None:
    """Add the headers, and the refusals that all say when to try again: that of a limit at a door that has `counted`.

    What is no part of the API, such as its health check, has a request id and nothing more.
    """
    of_all = [REQUEST_ID, *(_COUNTS if counted else ())]
    refusals = {status: told for status, told in _REFUSALS.items() if counted or status != "429"}
    headers = {name: each for name, each in _HEADERS.items() if counted or name not in _COUNTS}
    document["components"]["headers"] = headers
    document["components"]["responses"] = {name: _refusal(words, of_all) for name, words in refusals.values()}
    references = {status: {"$ref": f"#/components/responses/{name}"} for status, (name, _) in refusals.items()}
    for path, item in document["paths"].items():
        for operation in item.values():
            if "default" in operation["responses"]:
                _describe(path, operation, of_all)
                operation["responses"] |= references
            else:
                _describe(path, operation, [REQUEST_ID])


def _describe(path: str, operation: _Object, of_all: list[str]) -> None:
    for status, answer in operation["responses"].items():
        answer["headers"] = _references([*of_all, *_own(path, status, operation)])


def _own(path: str, status: str, operation: _Object) -> Iterator[str]:
    """Yield what comes with this answer and not with every one. Pure."""
    # Messages keep their keys themselves and do not say so; they name that parameter in another way.
    taken = {each["name"] for each in operation.get("parameters", [])}
    if "If-None-Match" in taken and status in {"200", "304"}:
        yield "ETag"
    if KEY in taken and status.startswith("2"):
        yield REPLAYED
    if KEY in taken and status == "default":
        yield "Retry-After"
    if status == "303" or (status == "201" and path not in _WITHOUT_PLACE):
        yield "Location"
    if status == "202" and path in _BEGUN_AT_A_PLACE:
        yield "Location"


def _refusal(words: str, of_all: list[str]) -> _Object:
    return {
        "description": words,
        "headers": _references([*of_all, "Retry-After"]),
        "content": {MEDIA_TYPE: {"schema": {"$ref": PROBLEM}}},
    }


def _references(names: Iterable[str]) -> _Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
