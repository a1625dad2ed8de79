"""Hold requests against the limits of who sends them, before anything else is done with them.

Who sends a request is proven later, by the database. So a key is counted by the hash of what was presented, and for a
tenant only what a key presented that was true before: nobody uses up another's limit by writing their tenant's id into
a key. What was not seen before is held against its address alone.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.errors import PenguinError, TooManyRequests
from control_plane.identity.networks import address_of
from control_plane.rest.problems import problem_answer
from control_plane.rest.rate_limiter import Limited, RateLimiter, Standing
from control_plane.rest.rates import RATES, Rates, RouteClass, route_class

_CALLER = "penguin.caller"
_NAMES = ("address", "key", "tenant")
#: Keys and tokens that were true; when there are more, all are learned anew.
_MOST_KNOWN = 50_000
#: Whoever has one IPv6 address has the 64 bits behind it.
_IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose counts a presented key or token goes to: the key or the person, and the tenant when there is one."""

    name: str
    tenant: str | None


def note_caller(request: Request, caller: Caller) -> None:
    """Say who presents the request's key or token; it is believed unless the answer is 401."""
    request.scope[_CALLER] = caller


class LimitsRequests:
    """Middleware: answers beyond a limit with what `refuse` makes of it, and says on each answer how much is left."""

    def __init__(
        self,
        app: ASGIApp,
        limiter: RateLimiter,
        prefix: str,
        refuse: Callable[[Scope, PenguinError], Response] = problem_answer,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._limiter = limiter
        self._prefix = prefix
        self._known: dict[bytes, Caller] = {}
        self._policies = {each: rates.policy.encode() for each, rates in RATES.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        presented = _presented(scope)
        kind = route_class(scope["method"], scope["path"])
        caller = self._known.get(presented) if presented else None
        standing = self._limiter.take(_limited(RATES[kind], kind, _place(scope), caller))
        headers = [(b"ratelimit-policy", self._policies[kind]), (b"ratelimit", _ratelimit(standing))]

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
                if presented and caller is None and message["status"] != HTTPStatus.UNAUTHORIZED:
                    self._learn(presented, scope.get(_CALLER))
            await send(message)

        if standing.exceeded:
            answer = self._refuse(scope, _refusal(standing))
            await answer(scope, receive, send_with_standing)
        else:
            await self._app(scope, receive, send_with_standing)

    def _learn(self, presented: bytes, caller: Caller | None) -> None:
        if caller is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[presented] = caller


def _presented(scope: Scope) -> bytes | None:
    """Return the hash of the Authorization header; what is kept here must open nothing."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return hashlib.sha256(value).digest()
    return None


def _place(scope: Scope) -> str:
    """Return what stands for where the request comes from."""
    host = scope["client"][0] if scope.get("client") else None
    if host and ":" not in host:
        return str(host)
    address = address_of(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address) if address else "unknown"


def _limited(rates: Rates, kind: RouteClass, place: str, caller: Caller | None) -> Iterator[Limited]:
    yield rates.address, f"{kind.value}/address/{place}"
    if caller is not None:
        yield rates.key, f"{kind.value}/key/{caller.name}"
        if caller.tenant is not None:
            yield rates.tenant, f"{kind.value}/tenant/{caller.tenant}"


def _ratelimit(standing: Standing) -> bytes:
    """Return the value of RateLimit (draft-ietf-httpapi-ratelimit-headers)."""
    return f'"{_NAMES[standing.place]}";r={standing.remaining};t={standing.reset_seconds}'.encode()


def _refusal(standing: Standing) -> TooManyRequests:
    whose = _NAMES[standing.place]
    return TooManyRequests(
        f"The limit for requests of this kind from one {whose} is reached; go on in {standing.reset_seconds} seconds.",
        standing.reset_seconds,
    )
