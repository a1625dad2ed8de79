"""How often one may ask, in requests a minute: the one table, and which class a request belongs to.

Three counts hold at once: of the key (or the person), of the tenant, and of the address that it comes from. They are
there so that nobody takes the service from the others; what somebody has paid for is in the plans (tenancy/plans.py).
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

#: Seconds that a count lasts; all begin at the full minute.
WINDOW_SECONDS = 60


class RouteClass(enum.StrEnum):
    """What kind of work a request is."""

    READ = "read"
    WRITE = "write"
    SEND = "send"
    HEAVY = "heavy"


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of one class."""

    key: RateLimitItem
    tenant: RateLimitItem
    address: RateLimitItem

    @property
    def policy(self) -> str:
        """The value of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
        named = (("key", self.key), ("tenant", self.tenant), ("address", self.address))
        return ", ".join(f'"{name}";q={item.amount};w={WINDOW_SECONDS}' for name, item in named)


def _rates(name: RouteClass, key: int, tenant: int, address: int) -> Rates:
    items = (RateLimitItemPerMinute(amount, namespace=name) for amount in (key, tenant, address))
    return Rates(*items)


RATES: Mapping[RouteClass, Rates] = {
    RouteClass.READ: _rates(RouteClass.READ, key=12_000, tenant=60_000, address=24_000),
    RouteClass.WRITE: _rates(RouteClass.WRITE, key=3_000, tenant=15_000, address=6_000),
    # Beyond what one process takes: the bound that counts is the plan's sends a day.
    RouteClass.SEND: _rates(RouteClass.SEND, key=300_000, tenant=600_000, address=600_000),
    # Each asks servers, name servers or providers, or makes a long answer.
    RouteClass.HEAVY: _rates(RouteClass.HEAVY, key=300, tenant=900, address=600),
}

#: For a door that lets people in: attempts for one account, and from one address.
LOGINS_OF_ACCOUNT = RateLimitItemPerHour(10, namespace="login-account")
LOGINS_OF_ADDRESS = RateLimitItemPerHour(100, namespace="login-address")

_SENDS = re.compile(r"/messages$|/messages:batch$|/messages/[^/]+/resend$|/outbound-")
_HEAVY = re.compile(r"/verify$|/repair$|/plan$|/preflight$|/logs$|/mail-server/restart$|:renew$|:rotate$|/export$")


def route_class(method: str, path: str) -> RouteClass:
    """Return the class of a request; of an unknown path, by its method."""
    if method == "POST" and _SENDS.search(path):
        return RouteClass.SEND
    if _HEAVY.search(path):
        return RouteClass.HEAVY
    return RouteClass.READ if method in {"GET", "HEAD", "OPTIONS"} else RouteClass.WRITE
