"""Create an inbox: its domain and DKIM key when they are new, its row, its password, and the run that sets it up."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict
from control_plane.inboxes.addresses import EmailAddress
from control_plane.inboxes.domains import claim_domain, server_of_domain
from control_plane.inboxes.moves import domain_is_moving
from control_plane.inboxes.passwords import dovecot_hash, generate_password
from control_plane.pipelines.runs import start_run
from control_plane.sealing import Sealer
from control_plane.tenancy.scope import TenantScope
from db.models import Inbox

_HOSTNAME = text("SELECT hostname FROM vps_servers WHERE tenant_id = :tenant_id AND id = :vps_id")

_IS_ALIAS = text("SELECT EXISTS (SELECT FROM inbox_aliases WHERE email_address = :address AND removed_at IS NULL)")


@dataclass(frozen=True, slots=True)
class NewInbox:
    """An inbox to create; the address is checked (`parse_mailbox_address`) and the server is the workspace's."""

    workspace_id: uuid.UUID
    vps_id: uuid.UUID
    address: EmailAddress
    display_name: str | None


@dataclass(frozen=True, slots=True)
class CreatedInbox:
    """What became of it; the password is kept nowhere."""

    id: uuid.UUID
    password: str = field(repr=False)


async def create_inbox(session: AsyncSession, scope: TenantScope, new: NewInbox, sealer: Sealer) -> CreatedInbox:
    """Insert the inbox and start `inbox.setup`.

    Raises `Conflict` when its address or domain is taken, or the domain's mail goes to another server.
    """
    domain_id = await claim_domain(session, scope, new.address.domain, sealer, new.workspace_id)
    if await server_of_domain(session, scope, new.address.domain) not in {None, new.vps_id}:
        raise Conflict(f"The mail of {new.address.domain} goes to another server; leave vps_id out to use that one.")
    if await domain_is_moving(session, scope, new.address.domain):
        raise Conflict(f"The mail of {new.address.domain} moves to another server; add inboxes when it has arrived.")
    if await session.scalar(_IS_ALIAS, {"address": str(new.address)}):
        raise Conflict(f"{new.address} is an alias of another inbox.")
    hostname: str = (
        await session.execute(_HOSTNAME, {"tenant_id": scope.tenant_id, "vps_id": new.vps_id})
    ).scalar_one()
    password = generate_password()
    row = {
        "tenant_id": scope.tenant_id,
        "workspace_id": new.workspace_id,
        "domain_id": domain_id,
        "email_address": str(new.address),
        "display_name": new.display_name,
        "vps_id": new.vps_id,
        "smtp_config": smtp_config(hostname, str(new.address)),
        "imap_config": imap_config(hostname, str(new.address)),
        "password_hash": await asyncio.to_thread(dovecot_hash, password),
    }
    statement = insert(Inbox).values(row).on_conflict_do_nothing(index_elements=["email_address"])
    inbox_id: uuid.UUID | None = await session.scalar(statement.returning(Inbox.id))
    if inbox_id is None:
        raise Conflict(f"There is an inbox {new.address} already.")
    await start_run(session, scope.tenant_id, "inbox.setup", inbox_id)
    return CreatedInbox(inbox_id, password)


def smtp_config(hostname: str, address: str) -> dict[str, Any]:
    """Return what a mail client needs for sending: submission with STARTTLS (RFC 6409), or TLS at once (RFC 8314)."""
    return {"host": hostname, "port": 587, "security": "starttls", "tls_port": 465, "username": address}


def imap_config(hostname: str, address: str) -> dict[str, Any]:
    """Return what a mail client needs for reading."""
    return {"host": hostname, "port": 993, "security": "tls", "username": address}
