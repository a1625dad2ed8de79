"""Aliases: further addresses of an inbox, in its own domain, whose mail it gets and which it may send as.

They are part of what its server should be (fleet/desired.py), and so they move and go with it.
"""

import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.fleet.desired import raise_desired_version
from control_plane.inboxes.addresses import EmailAddress
from control_plane.inboxes.domains import server_of_domain
from control_plane.inboxes.load import load_inbox
from control_plane.inboxes.moves import is_moving
from control_plane.tenancy.scope import TenantScope
from db.models import Inbox, InboxAlias

#: Of one inbox: each is a line of its server's configuration, which is sent whole.
MAX_ALIASES = 100
#: What each domain must take mail for (RFC 5321, section 4.5.1, RFC 2142) leads to the platform, unless it is an inbox.
_ROLE_NAMES = frozenset({"abuse", "postmaster"})

_IS_INBOX = text("SELECT EXISTS (SELECT FROM inboxes WHERE email_address = :address)")


async def list_aliases(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, after: uuid.UUID | None, limit: int
) -> Sequence[InboxAlias]:
    """Return the inbox's aliases in the order of their ids, from the one after `after`; raise `NotFound`."""
    await load_inbox(session, scope, inbox_id)
    query = select(InboxAlias).where(*_of_inbox(scope, inbox_id))
    if after is not None:
        query = query.where(InboxAlias.id > after)
    return (await session.scalars(query.order_by(InboxAlias.id).limit(limit))).all()


async def add_alias(
    session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, address: EmailAddress
) -> InboxAlias:
    """Add an alias and have the server take mail for it.

    Raises `NotFound`, `InvalidInput` for an address of another domain or of a role, and `Conflict` when the address is
    in use, the inbox has as many as it may have, is being removed or moves.
    """
    # Whoever makes an inbox of the domain waits, so that it cannot get the same address meanwhile.
    await server_of_domain(session, scope, address.domain)
    inbox = await _changeable(session, scope, inbox_id)
    if address.domain != inbox.email_address.rpartition("@")[2]:
        raise InvalidInput("An alias lies in its inbox's own domain.", "/email_address")
    if address.local_part in _ROLE_NAMES:
        raise InvalidInput(f"Mail for {address} goes to whoever runs the server.", "/email_address")
    if await session.scalar(select(func.count()).where(*_of_inbox(scope, inbox_id))) == MAX_ALIASES:
        raise Conflict(f"The inbox has {MAX_ALIASES} aliases, and no more are taken.")
    added = await _insert(session, scope, inbox_id, str(address))
    await _apply(session, inbox)
    return added


async def remove_alias(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, alias_id: uuid.UUID) -> None:
    """Take an alias away: its server refuses mail for it. Raises `NotFound`, and `Conflict` as `add_alias` does."""
    await load_inbox(session, scope, inbox_id)
    this = (*_of_inbox(scope, inbox_id), InboxAlias.id == alias_id)
    # Asked first: whatever the inbox is doing, an alias that is not its own is not there.
    if await session.scalar(select(InboxAlias.id).where(*this)) is None:
        raise NotFound("There is no such alias.")
    inbox = await _changeable(session, scope, inbox_id)
    await session.execute(update(InboxAlias).where(*this).values(removed_at=func.now()))
    await _apply(session, inbox)


async def _changeable(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID) -> Inbox:
    """Return the inbox, locked against moves and removal."""
    inbox = await load_inbox(session, scope, inbox_id, lock=True)
    if inbox.status == "deleting":
        raise Conflict("The inbox is being removed.")
    if await is_moving(session, scope, inbox_id):
        raise Conflict("The inbox moves to another server; its aliases can be changed when it has arrived.")
    return inbox


async def _insert(session: AsyncSession, scope: TenantScope, inbox_id: uuid.UUID, address: str) -> InboxAlias:
    if await session.scalar(_IS_INBOX, {"address": address}):
        raise _in_use(address)
    row = {"tenant_id": scope.tenant_id, "inbox_id": inbox_id, "email_address": address}
    new = insert(InboxAlias).values(row).on_conflict_do_nothing(index_elements=["email_address"])
    again = (
        update(InboxAlias)
        .where(
            InboxAlias.tenant_id == scope.tenant_id,
            InboxAlias.email_address == address,
            InboxAlias.removed_at.is_not(None),
        )
        .values(inbox_id=inbox_id, created_at=func.now(), removed_at=None)
    )
    alias: InboxAlias | None = await session.scalar(new.returning(InboxAlias))
    alias = alias or await session.scalar(again.returning(InboxAlias))
    if alias is None:
        raise _in_use(address)
    return alias


def _in_use(address: str) -> Conflict:
    return Conflict(f"The address {address} is in use.")


def _of_inbox(scope: TenantScope, inbox_id: uuid.UUID) -> tuple[ColumnElement[bool], ...]:
    return (
        InboxAlias.tenant_id == scope.tenant_id,
        InboxAlias.inbox_id == inbox_id,
        InboxAlias.removed_at.is_(None),
    )


async def _apply(session: AsyncSession, inbox: Inbox) -> None:
    if inbox.vps_id is not None:
        await raise_desired_version(session, inbox.vps_id)
