"""Accept what comes by SMTP: a send for each recipient, all in one commit or none."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.clock import Clock
from control_plane.errors import Forbidden, PenguinError, TooManyRequests
from control_plane.identity.api_keys import PresentedKey
from control_plane.inboxes.addresses import EmailAddress
from control_plane.messages.batch import accept_batch
from control_plane.messages.problem import ItemProblem
from control_plane.messages.send_request import Idempotency, SendRequest
from control_plane.messages.sender import find_address
from control_plane.messages.written import WrittenMessage, read_written
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.rates import RATES, RouteClass
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import scope_of
from db.session import Database


class MessageRefused(PenguinError):
    """The message cannot be sent."""

    slug = "message-refused"
    http_status = 422


@dataclass(frozen=True, slots=True)
class Submissions:
    """One for a process; the database is that of the API role."""

    database: Database
    limiter: RateLimiter
    clock: Clock

    async def require_sender(self, key: PresentedKey, sender: EmailAddress) -> None:
        """Raise `Forbidden` unless the envelope's sender is an inbox of the key's tenant."""
        async with self.database.tenant_connection(key.tenant_id) as connection:
            scope = await scope_of(connection, key, self.clock)
            if (await find_address(connection, scope, sender)).inbox_id is None:
                raise Forbidden("The sender's address is no inbox of yours.")

    async def accept(self, key: PresentedKey, sender: str, recipients: Sequence[str], data: bytes) -> list[str]:
        """Return the ids of the sends once they are committed, in the order of the recipients.

        A message that comes again within a day, known by its Message-ID, is sent once. Raises what is wrong with it.
        """
        self._count(key)
        written = await asyncio.to_thread(read_written, data)
        if str(written.sender).lower() != sender.lower():
            raise Forbidden("The field From must be the address that MAIL FROM names.")
        items = [SendRequest(to=each, subject=written.subject, written=written) for each in recipients]
        async with self.database.tenant_connection(key.tenant_id) as connection:
            scope = await scope_of(connection, key, self.clock)
            scope.require(Permission.SEND_MESSAGES)
            inbox_id = (await find_address(connection, scope, written.sender)).inbox_id
            if inbox_id is None:
                raise Forbidden("The sender's address is no inbox of yours.")
            answer = await accept_batch(connection, scope, inbox_id, items, _idempotency(written, recipients))
            for result in answer.results:
                if isinstance(result, ItemProblem):
                    raise MessageRefused(result.detail)
        return [str(each) for each in answer.results]

    def _count(self, key: PresentedKey) -> None:
        """Count a send against the limits of REST's key and tenant; raise `TooManyRequests`."""
        rates, kind, tenant = RATES[RouteClass.SEND], RouteClass.SEND.value, str(key.tenant_id)
        limited = (
            (rates.key, f"{kind}/key/{tenant}/{key.prefix}"),
            (rates.tenant, f"{kind}/tenant/{tenant}"),
            (rates.address, f"{kind}/address/{key.address}"),
        )
        standing = self.limiter.take(limited)
        if standing.exceeded:
            raise TooManyRequests("The limit of sends is reached; try again.", standing.reset_seconds)


def _idempotency(written: WrittenMessage, recipients: Sequence[str]) -> Idempotency | None:
    """Return what tells a repetition: a program may split a message's recipients, so they are part of the key."""
    if written.message_id is None:
        return None
    named = "\n".join((written.message_id, str(written.sender), *sorted(recipients)))
    key = f"smtp:{hashlib.sha256(named.encode()).hexdigest()}"
    # The header may have got another trace on its way.
    return Idempotency(key, hashlib.sha256(written.body).digest())
