"""Log-in with an API key as password. The user is an inbox's address, or the key's prefix, or all of it but the secret.

A key cannot be guessed, so log-ins that succeed are not counted: programs log in for each message. Those that fail are,
by address, in Redis; an address with too many of them is turned away for a while before it is looked at.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from control_plane.clock import Clock
from control_plane.errors import Forbidden, InvalidInput, TooManyRequests, Unauthenticated
from control_plane.identity.api_keys import PresentedKey, parse_api_key
from control_plane.identity.networks import Address
from control_plane.inboxes.addresses import parse_address
from control_plane.messages.sender import find_address
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.rates import LOGINS_OF_ADDRESS
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import scope_of
from db.session import Database

#: Seconds for which an address is turned away.
_TURNED_AWAY = 60.0
#: Addresses that are remembered; when there are more, all are looked at anew.
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class LogIns:
    """One for a process; `turned_away` says until when, by the process's clock."""

    database: Database
    limiter: RateLimiter
    clock: Clock
    turned_away: dict[Address | None, float]
    now: Callable[[], float] = time.monotonic

    async def check(self, user: str, password: str, address: Address | None) -> PresentedKey:
        """Return the key that is true, in force and may send.

        Raises `Unauthenticated`, and `TooManyRequests` or `Unavailable` for an address with too many failures.
        """
        if self.turned_away.get(address, 0.0) > self.now():
            raise TooManyRequests("There were too many log-ins that failed.", int(_TURNED_AWAY))
        try:
            return await self._verify(user, password, address)
        except (Unauthenticated, Forbidden, InvalidInput):
            await self._count_failure(address)
            raise Unauthenticated("The user or the API key is not right, or the key may not send.") from None

    async def _verify(self, user: str, password: str, address: Address | None) -> PresentedKey:
        presented = parse_api_key(password, address)
        async with self.database.tenant_connection(presented.tenant_id) as connection:
            scope = await scope_of(connection, presented, self.clock)
            scope.require(Permission.SEND_MESSAGES)
            if user in {presented.prefix, password.rpartition("_")[0]}:
                return presented
            if (await find_address(connection, scope, parse_address(user, "/user"))).inbox_id is None:
                raise Unauthenticated("The user is no inbox of the key's tenant.")
        return presented

    async def _count_failure(self, address: Address | None) -> None:
        try:
            await self.limiter.take_strictly(LOGINS_OF_ADDRESS, "submission", str(address))
        except TooManyRequests:
            if len(self.turned_away) >= _MOST_REMEMBERED:
                self.turned_away.clear()
            self.turned_away[address] = self.now() + _TURNED_AWAY
            raise
