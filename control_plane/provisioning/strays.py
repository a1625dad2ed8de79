"""Strays: servers at a provider that no row needs (orphans), and rows whose server is gone at the provider (missing).

The worker looks every ten minutes, or when an operator wants it (it alone has the providers' credentials), and writes
down what it found. Only what this installation made is seen: adapters list by its label. A row is written before its
server is asked for and its removal ends after the server is gone, so the servers are listed first and the rows read
then: what has no row by then never had one. Nothing is deleted unless an operator said so for that one server, and it
is looked at once more before.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import Row, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound
from control_plane.providers.base import Capability, ListsServers, Provider, ProviderError, ProviderServer
from control_plane.provisioning.servers import VPS_LABEL, name_at_provider
from db.models import ProviderLook, StrayServer
from db.session import Database

_LOOK_EVERY = timedelta(minutes=10)

_DUE = text(
    "INSERT INTO provider_looks (provider) VALUES (:provider) ON CONFLICT (provider) DO UPDATE SET provider ="
    " excluded.provider RETURNING looked_at IS NULL OR looked_at < now() - :every"
    " OR wanted_at IS NOT NULL AND wanted_at > looked_at"
)
_LOOKED = text("UPDATE provider_looks SET looked_at = now(), fault = :fault WHERE provider = :provider")
_WANT = text("UPDATE provider_looks SET wanted_at = now()")
_ROWS = text(
    "SELECT v.id, v.hostname, v.status, host(v.ip_address) AS ipv4_address, v.provider_server_id IS NOT NULL AS made,"
    " EXISTS (SELECT FROM pipeline_runs r WHERE r.subject_id = v.id"
    "  AND r.state IN ('waiting', 'running', 'needs_person', 'undoing')) AS worked_on"
    " FROM vps_servers v WHERE v.provider = :provider"
)
_FORGET = text("DELETE FROM stray_servers WHERE provider = :provider AND name <> ALL(:names)")
_NOTE = text(
    "INSERT INTO stray_servers (provider, name, kind, reason, ipv4_address, vps_id)"
    " VALUES (:provider, :name, :kind, :reason, :ipv4, :vps) ON CONFLICT (provider, name)"
    " DO UPDATE SET kind = excluded.kind, reason = excluded.reason, ipv4_address = excluded.ipv4_address,"
    " vps_id = excluded.vps_id"
)
_TO_REAP = text("SELECT name FROM stray_servers WHERE provider = :provider AND kind = 'orphan' AND reap_at IS NOT NULL")
_REAP = text(
    "UPDATE stray_servers SET reap_at = now() WHERE provider = :provider AND name = :name AND kind = 'orphan'"
    " RETURNING name"
)


@dataclass(frozen=True, slots=True)
class Stray:
    """One of either kind; `reason` is a sentence."""

    name: str
    kind: str
    reason: str
    ipv4_address: str | None
    vps_id: uuid.UUID | None


def judge(servers: Sequence[ProviderServer], rows: Sequence[Row[Any]]) -> list[Stray]:
    """Compare what a provider has with what the rows say."""
    known = {name_at_provider(row.id): row for row in rows}
    by_id = {str(row.id): row for row in rows}
    there = set()
    strays = []
    for server in servers:
        # One that somebody renamed there is still the one that the label says.
        row = by_id.get(dict(server.labels).get(VPS_LABEL, "")) or known.get(server.name)
        there.add(name_at_provider(row.id) if row else server.name)
        if reason := _why_orphan(row):
            strays.append(Stray(server.name, "orphan", reason, server.ipv4_address, row.id if row else None))
    for name, row in known.items():
        if name not in there and row.made and row.status == "ready" and not row.worked_on:
            reason = f"{row.hostname} is {row.status} here, and its server is gone at the provider"
            strays.append(Stray(name, "missing", reason, row.ipv4_address, row.id))
    return strays


def _why_orphan(row: Row[Any] | None) -> str | None:
    """Return why nothing needs a server; None when its row may still need it, or is being worked on."""
    if row is None:
        return "no server here has this name"
    if row.worked_on:
        return None
    match row.status:
        case "deleted":
            return f"{row.hostname} was removed here"
        case "failed":
            return f"{row.hostname} failed here and was taken back"
        case _:
            return None


async def look_after_strays(database: Database, providers: Mapping[str, Provider]) -> None:
    """Look at each provider whose time has come, write down its strays, and delete what operators said."""
    for key, provider in providers.items():
        if Capability.LIST in provider.capabilities:
            await _look_when_due(database, key, provider)


async def _look_when_due(database: Database, key: str, provider: Provider) -> None:
    async with database.system() as session:
        due = await session.scalar(_DUE, {"provider": key, "every": _LOOK_EVERY})
        reaping = await session.scalars(_TO_REAP, {"provider": key})
        wanted = set(reaping)
    if not due and not wanted:
        return
    try:
        strays = await _look(database, key, provider)
        for stray in strays:
            if stray.kind == "orphan" and stray.name in wanted:
                await provider.delete(stray.name)
        if wanted:
            strays = await _look(database, key, provider)
        fault = None
    except ProviderError as error:
        strays, fault = None, str(error)
    async with database.system() as session:
        if strays is not None:
            await _write(session, key, strays)
        await session.execute(_LOOKED, {"provider": key, "fault": fault})


async def _look(database: Database, key: str, provider: Provider) -> list[Stray]:
    servers = await cast("ListsServers", provider).list()
    async with database.system() as session:
        rows = (await session.execute(_ROWS, {"provider": key})).all()
    return judge(servers, rows)


async def _write(session: AsyncSession, key: str, strays: Sequence[Stray]) -> None:
    await session.execute(_FORGET, {"provider": key, "names": [stray.name for stray in strays]})
    for stray in strays:
        row = {"provider": key, "name": stray.name, "kind": stray.kind, "reason": stray.reason}
        await session.execute(_NOTE, {**row, "ipv4": stray.ipv4_address, "vps": stray.vps_id})


async def strays(
    session: AsyncSession, after: tuple[str, str] | None = None, limit: int | None = None
) -> Sequence[StrayServer]:
    """Return a page of what was found last, by provider and name; without a limit, all."""
    key = tuple_(StrayServer.provider, StrayServer.name)
    query = select(StrayServer).order_by(StrayServer.provider, StrayServer.name).limit(limit)
    return (await session.scalars(query if after is None else query.where(key > tuple_(*map(literal, after))))).all()


async def looks(session: AsyncSession) -> Sequence[ProviderLook]:
    """Return when each provider was looked at."""
    return (await session.scalars(select(ProviderLook).order_by(ProviderLook.provider))).all()


async def want_look(session: AsyncSession) -> None:
    """Have all providers looked at soon."""
    await session.execute(_WANT)


async def mark_for_reaping(session: AsyncSession, provider: str, name: str) -> None:
    """Let an orphan be deleted; raise `NotFound` when it is none."""
    if await session.scalar(_REAP, {"provider": provider, "name": name}) is None:
        raise NotFound(f"there is no orphan {name} at {provider}")
