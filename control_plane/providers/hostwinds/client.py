"""One request to Hostwinds: a form over HTTPS, one attempt, over IPv4, since the key is bound to an IPv4 address.

A request is not sent after the call's deadline, by a clock that runs while the machine sleeps: a worker that was paused
for an hour must not order a server then.

SECURITY: the key goes into the form, to the API's address alone; it is in no message, `repr` or log line of ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from control_plane.clock import boot_seconds
from control_plane.providers.base import NeedsPerson, ProviderBusy, ProviderError
from control_plane.providers.hostwinds.envelope import Refusal, Unreadable, read_envelope

#: Seconds in which a call has to begin its last request.
BUDGET = 20.0
#: Seconds to connect, and to wait for an answer.
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 20.0
_TOO_MANY = 429

Field = str | int | Sequence[str]


class Unanswered(ProviderBusy):
    """No answer that can be read; what was asked for may have been done."""


class NotDone(ProviderBusy):
    """Nothing was done, and it may work later."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and the key."""

    url: str
    key: SecretStr
    answer_seconds: float = ANSWER_SECONDS


class Deadline:
    """Until when a call may send requests."""

    def __init__(self, seconds: float = BUDGET, *, end: float | None = None) -> None:
        in_time = boot_seconds() + seconds
        self._end = in_time if end is None else min(in_time, end)

    def check(self) -> None:
        """Raise `NotDone` when it is too late."""
        if boot_seconds() >= self._end:
            raise NotDone("the call took too long; it goes on from what is there", 1.0)


async def ask(access: Access, deadline: Deadline, action: str, **fields: Field) -> list[Mapping[str, Any]]:
    """Send a form and return the objects of the answer.

    Raises `Refusal`, `NotDone` when it was surely not done, and `Unanswered` when nobody knows.
    """
    form = {"action": action, "API": access.key.get_secret_value(), **fields}
    # Bound to no address of ours but to the family.
    transport = httpx.AsyncHTTPTransport(local_address="0.0.0.0")  # noqa: S104
    timeout = httpx.Timeout(access.answer_seconds, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) as client:
        deadline.check()
        try:
            answer = await client.post(access.url, data=form)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotDone(f"Hostwinds cannot be reached ({type(error).__name__})", 10.0) from None
        except httpx.HTTPError as error:
            raise Unanswered(f"Hostwinds gave no answer ({type(error).__name__})", 10.0) from None
    if answer.status_code == _TOO_MANY:
        raise NotDone("Hostwinds has been asked too often", 30.0)
    if not answer.is_success:
        raise Unanswered(f"Hostwinds answered {answer.status_code}", 15.0)
    try:
        return read_envelope(answer.content)
    except Unreadable:
        raise Unanswered("Hostwinds gave an answer that cannot be read", 15.0) from None


def rendered(refusal: Refusal) -> ProviderError:
    """Return what a refusal means: its words are all there is to tell by."""
    words = str(refusal).lower()
    if "not authorized" in words:
        return NeedsPerson(
            f"{refusal}: the API key is unknown, or not allowed from this machine's IPv4 address; look at both in the"
            " client area (Cloud Control, API), then run `penguin doctor hostwinds`"
        )
    if any(word in words for word in ("balance", "funds", "credit", "payment", "unpaid")):
        return NeedsPerson(f"{refusal}: add funds or a way to pay in the client area; it goes on by itself then")
    if any(word in words for word in ("too many", "rate limit", "try again")):
        return NotDone(str(refusal), 30.0)
    return ProviderError(str(refusal))
