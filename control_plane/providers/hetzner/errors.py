"""What Hetzner's errors mean: come back, take the next choice, wait for a person, or give up.

The codes are those of the published API (docs.hetzner.cloud, "Errors", and the notes of each call). A code that is not
known is a refusal: it is shown, and nothing is repeated that may cost money.
"""

from typing import Any

from hcloud import APIException

from control_plane.providers.base import NeedsPerson, ProviderBusy, ProviderError

#: Seconds until it is worth asking again.
_LATER = {
    "rate_limit_exceeded": 10.0,
    "conflict": 2.0,
    "locked": 3.0,
    "must_be_unassigned": 3.0,
    "timeout": 3.0,
    "bad_gateway": 3.0,
    "unavailable": 15.0,
    "service_error": 15.0,
    "server_error": 15.0,
    "maintenance": 60.0,
}
_NEXT_CHOICE = {"resource_unavailable", "placement_error"}
_NEW_KEY = (
    "make one with read and write access in the project's console (Security, API tokens), set PENGUIN_HETZNER_TOKEN to"
    " it, and start again"
)
_PERSON = {
    "unauthorized": f"Hetzner does not know the API token: {_NEW_KEY}",
    "token_readonly": f"the API token may only read: {_NEW_KEY}",
    "forbidden": f"the API token may not do this: {_NEW_KEY}",
    "resource_limit_exceeded": (
        "the Hetzner project has reached a limit: delete what is not needed or ask for a higher one in the console"
        " (Limits, Request change); it goes on by itself then"
    ),
    "protected": "it is protected at Hetzner: take the protection away in the console; it goes on by itself then",
    "deprecated_api_endpoint": "Hetzner has removed a call that this version uses: upgrade PenguinMails",
}


class ChoiceUnavailable(ProviderError):
    """A type is not to be had at a location now; another may be."""


def rendered(error: APIException) -> ProviderError:
    """Return what the error means; the message has Hetzner's own words and fields, and never a credential."""
    code, words = error.code, _words(error)
    if code in _NEXT_CHOICE:
        return ChoiceUnavailable(words)
    if code in _PERSON:
        return NeedsPerson(f"{_PERSON[str(code)]} ({words})")
    if code in _LATER:
        return ProviderBusy(words, _LATER[str(code)])
    if isinstance(code, int) and _says_nothing(code):
        return ProviderBusy(f"Hetzner answered {code}", 10.0)
    return ProviderError(words)


def _says_nothing(status: int) -> bool:
    """Return whether an answer without an error code of Hetzner's leaves open what was done."""
    return status < 400 or status >= 500 or status == 429


def _words(error: APIException) -> str:
    named = [*_named(error.details, "fields"), *_named(error.details, "limits")]
    return f"Hetzner: {error.message} [{error.code}]" + (f": {'; '.join(named)}" if named else "")


def _named(details: Any, key: str) -> list[str]:  # noqa: ANN401 - whatever the answer holds
    """Return the names in `details[key]`, each with its messages."""
    entries = details.get(key) if isinstance(details, dict) else None
    if not isinstance(entries, list):
        return []
    return [_entry(entry) for entry in entries if isinstance(entry, dict)]


def _entry(entry: dict[str, Any]) -> str:
    messages, name = entry.get("messages"), str(entry.get("name", "?"))
    return f"{name}: {', '.join(map(str, messages))}" if isinstance(messages, list) and messages else name
