"""The inbox that sends leave from, and what an idempotency key already stands for: one look-up for both."""

import datetime as dt
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Never

from psycopg import AsyncConnection
from psycopg.rows import class_row

from control_plane.errors import Conflict, IdempotencyKeyReused, NotFound
from control_plane.inboxes.addresses import EmailAddress
from control_plane.messages.compose import message_id
from control_plane.messages.send_request import AcceptedSend, Idempotency
from control_plane.tenancy.scope import TenantScope

_FIND_SENDERS = Path(__file__).with_name("find_senders.sql").read_text(encoding="utf-8")
_FIND_ADDRESS = """
SELECT (SELECT id FROM inboxes WHERE tenant_id = %(tenant_id)s AND email_address = %(address)s),
    EXISTS (SELECT FROM domains WHERE tenant_id = %(tenant_id)s AND name = %(domain)s AND deleted_at IS NULL)
"""

#: An inbox and an idempotency key, or None.
Asked = tuple[uuid.UUID, str | None]


class Sender(NamedTuple):
    """A row of find_senders.sql; what comes after `now` is None but for a key that was used before."""

    inbox_id: uuid.UUID
    key: str | None
    workspace_id: uuid.UUID
    vps_id: uuid.UUID | None
    email_address: str
    display_name: str | None
    status: str
    now: dt.datetime
    request_sha256: bytes | None
    message_id: uuid.UUID | None
    message_ids: list[uuid.UUID | None] | None
    problems: dict[str, Any] | None
    accepted_at: dt.datetime | None
    send_at: dt.datetime | None

    @property
    def domain(self) -> str:
        """The domain that sends are signed with."""
        return self.email_address.rpartition("@")[2]

    def require_server(self) -> uuid.UUID:
        """Return the server that sends leave from; raise `Conflict` when the inbox is not ready."""
        if self.status != "ready" or self.vps_id is None:
            raise Conflict(f"The inbox cannot send yet or no longer: its status is {self.status}.")
        return self.vps_id

    def refuse_changed(self) -> Never:
        """Raise the `Conflict` that kept sends out of an inbox that was ready a moment before."""
        self.require_server()
        raise Conflict("The inbox changed meanwhile; try again.")

    def repeats(self, idempotency: Idempotency | None) -> bool:
        """Tell whether this very request was answered before; raise `IdempotencyKeyReused` when it was another."""
        if idempotency is None or self.request_sha256 is None:
            return False
        if self.request_sha256 != idempotency.request_sha256:
            raise IdempotencyKeyReused("The idempotency key was used for another request; choose a new one.")
        return True

    def repeated(self, idempotency: Idempotency | None) -> AcceptedSend | None:
        """Return the send that the same request made before, if it did."""
        if not self.repeats(idempotency) or not self.message_id or not self.accepted_at or not self.send_at:
            return None
        return AcceptedSend(self.message_id, message_id(self.message_id, self.domain), self.accepted_at, self.send_at)


class OwnAddress(NamedTuple):
    """What a tenant has of an address: the inbox, or at least its domain."""

    inbox_id: uuid.UUID | None
    has_domain: bool


async def find_address(connection: AsyncConnection[Any], scope: TenantScope, address: EmailAddress) -> OwnAddress:
    """Return what the tenant has of an address that somebody wants to send from."""
    values = {"tenant_id": scope.tenant_id, "address": str(address).lower(), "domain": address.domain}
    found = await (await connection.execute(_FIND_ADDRESS, values)).fetchone()
    return OwnAddress(*(found or (None, False)))


async def find_sender(
    connection: AsyncConnection[Any], scope: TenantScope, inbox_id: uuid.UUID, idempotency: Idempotency | None
) -> Sender:
    """Return the tenant's inbox with what the key stands for; raise `NotFound`."""
    asked = (inbox_id, idempotency.key if idempotency else None)
    return found_sender((await find_senders(connection, scope, [asked])).get(asked))


async def find_senders(
    connection: AsyncConnection[Any], scope: TenantScope, asked: Iterable[Asked]
) -> dict[Asked, Sender]:
    """Return the same for pairs of an inbox and a key; pairs whose inbox is not the tenant's are left out."""
    pairs = dict.fromkeys(asked)
    cursor = connection.cursor(row_factory=class_row(Sender))
    parameters = {
        "tenant_id": scope.tenant_id,
        "within": scope.reach.within,
        "inbox_ids": [inbox_id for inbox_id, _ in pairs],
        "keys": [key for _, key in pairs],
    }
    await cursor.execute(_FIND_SENDERS, parameters)
    return {(sender.inbox_id, sender.key): sender async for sender in cursor}


def found_sender(sender: Sender | None) -> Sender:
    """Return the sender that was asked for; raise `NotFound` when there is none."""
    if sender is None:
        raise NotFound("There is no such inbox.")
    return sender
