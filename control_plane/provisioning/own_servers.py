"""Servers that a person brings: a row and a run for each, and what makes it join, once or again."""

import re
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.tokens import forget_join_tokens
from control_plane.errors import Conflict, InvalidInput
from control_plane.provisioning.cloud_init import JoinData
from control_plane.provisioning.joining import Release, make_join_data
from control_plane.provisioning.requests import request_server
from control_plane.sealing import Sealer
from control_plane.settings import Settings

_KEY = "byo"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# Without a choice given, there must be only one.
_WORKSPACES = text(
    "SELECT tenant_id, id FROM workspaces WHERE (CAST(:tenant AS uuid) IS NULL OR tenant_id = :tenant)"
    " AND (CAST(:workspace AS uuid) IS NULL OR id = :workspace) ORDER BY created_at LIMIT 2"
)
_BY_NAME = text(
    "SELECT id, tenant_id, provider, status,"
    " EXISTS (SELECT FROM agent_certificates c WHERE c.vps_id = v.id) AS joined"
    " FROM vps_servers v WHERE hostname = :hostname FOR UPDATE"
)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """What a person says of the server; None where there is nothing to choose or it shows by itself."""

    hostname: str | None = None
    ipv4_address: str | None = None
    ipv6_address: str | None = None
    tenant_id: uuid.UUID | None = None
    workspace_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Invitation:
    """The server's row, and what it joins with."""

    tenant_id: uuid.UUID
    vps_id: uuid.UUID
    join: JoinData


async def invite(
    session: AsyncSession,
    settings: Settings,
    sealer: Sealer,
    release: Release,
    wish: OwnServer,
    *,
    token_life: timedelta,
) -> Invitation:
    """Make the server's row and start its run, or find it by its name while it has not joined, and invite it.

    An earlier invitation of the same server is void then. Raises `InvalidInput` and `Conflict`.
    """
    hostname = checked_hostname(wish.hostname, settings.platform_domain) if wish.hostname else None
    vps_id, tenant_id = await _find(session, hostname) or await _request(session, settings, sealer, wish, hostname)
    await forget_join_tokens(session, vps_id)
    name = await session.scalar(text("SELECT hostname FROM vps_servers WHERE id = :id"), {"id": vps_id})
    join = await make_join_data(
        session,
        settings,
        sealer,
        release,
        tenant_id=tenant_id,
        vps_id=vps_id,
        hostname=str(name),
        token_life=token_life,
    )
    return Invitation(tenant_id, vps_id, join)


def checked_hostname(name: str, platform_domain: str) -> str:
    """Return the whole name of a server: one label below the platform's domain, whose zone is published."""
    label = name.lower().removesuffix(".").removesuffix(f".{platform_domain}")
    if not _LABEL.fullmatch(label):
        raise InvalidInput(f"a server's name is one label below {platform_domain}, such as mx-berlin; not {name!r}")
    return f"{label}.{platform_domain}"


async def _find(session: AsyncSession, hostname: str | None) -> tuple[uuid.UUID, uuid.UUID] | None:
    found = (await session.execute(_BY_NAME, {"hostname": hostname})).one_or_none()
    if found is None:
        return None
    if found.provider != _KEY or found.joined or found.status != "provisioning":
        raise Conflict(f"there is a server {hostname} already, and it is no longer waited for")
    return found.id, found.tenant_id


async def _request(
    session: AsyncSession, settings: Settings, sealer: Sealer, wish: OwnServer, hostname: str | None
) -> tuple[uuid.UUID, uuid.UUID]:
    choice = {"tenant": wish.tenant_id, "workspace": wish.workspace_id}
    found = (await session.execute(_WORKSPACES, choice)).all()
    if not found:
        raise InvalidInput("there is no such workspace: make one with `tenant create` and `workspace create`")
    if len(found) > 1:
        raise InvalidInput("there are several workspaces: choose with --tenant and --workspace")
    vps_id = await request_server(
        session,
        tenant_id=found[0].tenant_id,
        workspace_id=found[0].id,
        provider=_KEY,
        size="own",
        region="own",
        platform_domain=settings.platform_domain,
        sealer=sealer,
        hostname=hostname,
        ipv4_address=wish.ipv4_address,
        ipv6_address=wish.ipv6_address,
    )
    return vps_id, found[0].tenant_id
