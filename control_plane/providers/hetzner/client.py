"""One operation's client of Hetzner's API: the maker's library, held to one attempt for each request and to a deadline.

The library repeats requests by itself, POSTs that may have been done included, and sleeps in between; that is switched
off, for the pipeline decides when to come back. A request that would begin after the operation's deadline is not sent:
a worker that was paused and goes on an hour later cannot act on what it knew before. The deadline is kept by a clock
that also runs while the machine sleeps. Rate limits are read from every answer, whatever the library makes of it.

SECURITY: the token goes to the API's address alone, in a header; it is in no message, `repr` or log line of ours.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from hcloud import APIException, Client
from hcloud.actions import ActionException
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from control_plane.clock import boot_seconds
from control_plane.providers.base import ProviderBusy
from control_plane.providers.hetzner.errors import rendered

#: Seconds after which an operation begins no more requests; less than a step's claim lasts without being renewed.
BUDGET = 25.0
#: Seconds to connect, and between two packets of an answer.
TIMEOUT = (5.0, 20.0)


@dataclass(frozen=True, slots=True)
class Account:
    """One Hetzner project, and how this installation signs what it makes there."""

    token: SecretStr
    api_url: str
    instance: str
    image: str


@dataclass(slots=True)
class RateLimit:
    """What the last answer said of the project's limit, and how many requests the operation sent."""

    sent: int = 0
    per_hour: int | None = None
    remaining: int | None = None


class Operation:
    """The requests of one call of the provider. Not for two threads at once, except for `abandon`."""

    def __init__(self, account: Account, *, budget: float = BUDGET, timeout: tuple[float, float] = TIMEOUT) -> None:
        self.account = account
        self.rate = RateLimit()
        self._deadline = boot_seconds() + budget
        self.client = Client(
            token=account.token.get_secret_value(),
            api_endpoint=account.api_url,
            application_name="penguinmails",
            timeout=timeout,
        )
        # The library has no public way to say either.
        base = self.client._client  # noqa: SLF001
        base._retry_max_retries = 0  # noqa: SLF001
        self._session = base._session  # noqa: SLF001
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _Gate(self))

    def end_by(self, deadline: float | None) -> None:
        """Begin no request after that either, as `boot_seconds` counts."""
        if deadline is not None:
            self._deadline = min(self._deadline, deadline)

    def abandon(self) -> None:
        """Begin no more requests; the one that is under way runs to its end."""
        self._deadline = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def begin_request(self) -> None:
        """Count a request; raise `ProviderBusy` when it is too late for it."""
        if boot_seconds() >= self._deadline:
            raise ProviderBusy("the call took too long; it goes on from what is there", 1.0)
        self.rate.sent += 1

    def read_limit(self, status: int, headers: Mapping[str, str]) -> None:
        """Take over what an answer says of the rate limit; one that refuses for it says so with or without numbers."""
        per_hour, remaining = headers.get("RateLimit-Limit", ""), headers.get("RateLimit-Remaining", "")
        if per_hour.isdecimal() and int(per_hour) and remaining.isdecimal():
            self.rate.per_hour, self.rate.remaining = int(per_hour), int(remaining)
        if status == requests.codes.too_many_requests:
            self.rate.remaining = 0


class _Gate(HTTPAdapter):
    """Where each request leaves and each answer comes in."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(max_retries=0)
        self._operation = operation

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        self._operation.begin_request()
        answer = super().send(request, *arguments, **options)
        self._operation.read_limit(answer.status_code, answer.headers)
        return answer


@contextmanager
def our_errors() -> Iterator[None]:
    """Turn what the library raises into the provider's errors."""
    try:
        yield
    except APIException as error:
        raise rendered(error) from None
    except ActionException as error:
        raise ProviderBusy(f"Hetzner: {error.message}") from None
    except requests.RequestException as error:
        # Its text has the request's address and no header; its kind says enough.
        raise ProviderBusy(
            f"Hetzner gave no answer ({type(error).__name__}); it may have been done all the same"
        ) from None
