"""Port 80 of servers whose provider's firewall keeps it shut: opened for one attempt at a certificate, and shut again.

A server that wants a certificate says in its report that it waits for the port. It is opened then, the server is told
so by a command, and it is shut as soon as a report tells what came of it, or after ten minutes.

    write down until when -> open -> tell the server -> report or ten minutes -> shut -> take the note away

The note comes first and goes last, so whatever a crash or a lost answer leaves open is shut by the next look.
"""

import asyncio
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Row, text

from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.pipelines.rounds import go_round
from control_plane.providers.base import Capability, OpensAcmePort, Provider, ProviderError
from control_plane.provisioning.servers import name_at_provider
from db.session import Database
from protos.agent.v1.commands_pb2 import Command, IssueCertificate

#: The longest that a port is open.
OPEN_FOR = timedelta(minutes=10)
#: Within which the attempt has to begin: certbot may take three minutes, and once more where its account is gone.
BEGIN_WITHIN = timedelta(minutes=4)
#: For the server to take the command.
_COMMAND_LIFE = timedelta(seconds=60)
#: Seconds for a call to the provider.
_CALL_SECONDS = 60.0
#: Servers whose ports are opened or shut side by side.
_AT_ONCE = 4

# Only what holds its link now can use an opening.
_STANDING = text(
    "SELECT v.id, v.tenant_id, v.provider, v.hostname, v.acme_port_open_until AS until,"
    " v.acme_port_open_until < now() AS over, coalesce(r.report #>> '{certificate_issue,state}', '') AS state,"
    " v.link_session IS NOT NULL AND v.banned_at IS NULL AS linked"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.tenant_id = v.tenant_id AND r.vps_id = v.id"
    " WHERE v.provider = ANY(:providers) AND (CAST(:vps AS uuid) IS NULL OR v.id = :vps)"
    " AND (v.acme_port_open_until IS NOT NULL"
    "  OR v.status <> 'deleted' AND r.report #>> '{certificate_issue,state}' = 'waiting_for_port')"
)
_CLAIM = text(
    "UPDATE vps_servers SET acme_port_open_until = now() + :open_for WHERE id = :vps AND acme_port_open_until IS NULL"
    " AND status <> 'deleted' RETURNING acme_port_open_until"
)
# Locks the row: nobody can have it shut between this and the command.
_STILL_OURS = text("SELECT id FROM vps_servers WHERE id = :vps AND acme_port_open_until = :until FOR UPDATE")
# Whoever opened too late does not know what became of the note since: one that is over has it shut.
_SHUT_SOON = text(
    "UPDATE vps_servers SET acme_port_open_until = now() WHERE id = :vps"
    " AND (acme_port_open_until IS NULL OR acme_port_open_until = :until)"
)
_SHUT = text("UPDATE vps_servers SET acme_port_open_until = NULL WHERE id = :vps AND acme_port_open_until = :until")

_log = logging.getLogger(__name__)


async def look_after_ports(
    database: Database, providers: Mapping[str, Provider], vps_id: uuid.UUID | None = None
) -> None:
    """Shut what is to be shut and open what is waited for, of one server or of all."""
    opening = {key: each for key, each in providers.items() if Capability.ACME_PORT in each.capabilities}
    if not opening:
        return
    async with database.system() as session:
        rows = (await session.execute(_STANDING, {"providers": list(opening), "vps": vps_id})).all()

    async def look(row: Row[Any]) -> None:
        await _look(database, opening[row.provider], row)

    await go_round("port 80 of server", rows, look, at_once=_AT_ONCE, seconds=2 * _CALL_SECONDS)


async def _look(database: Database, provider: Provider, row: Row[Any]) -> None:
    try:
        if row.until is None:
            if row.linked:
                await _open(database, provider, row)
        elif row.over or row.state not in ("waiting_for_port", "asking"):
            await _shut(database, provider, row)
    except (ProviderError, TimeoutError) as error:
        _log.warning("port 80 of %s: %s", row.hostname, error)


async def _open(database: Database, provider: Provider, row: Row[Any]) -> None:
    async with database.system() as session:
        until: datetime | None = await session.scalar(_CLAIM, {"vps": row.id, "open_for": OPEN_FOR})
    if until is None:
        return
    key = {"vps": row.id, "until": until}
    try:
        async with asyncio.timeout(_CALL_SECONDS):
            await cast("OpensAcmePort", provider).open_acme(name_at_provider(row.id))
    except (ProviderError, TimeoutError):
        # It may be open.
        async with database.system() as session:
            await session.execute(_SHUT_SOON, key)
        raise
    async with database.system() as session:
        if await session.scalar(_STILL_OURS, key) is None:
            await session.execute(_SHUT_SOON, key)
            return
        deed = IssueCertificate(port_open_seconds=BEGIN_WITHIN.total_seconds())
        order = CommandOrder(row.tenant_id, row.id, Command(issue_certificate=deed), "certificates", _COMMAND_LIFE)
        await request_command(session, order)
    _log.info("port 80 of %s is open until %s", row.hostname, until)


async def _shut(database: Database, provider: Provider, row: Row[Any]) -> None:
    name = name_at_provider(row.id)
    async with asyncio.timeout(_CALL_SECONDS):
        try:
            await cast("OpensAcmePort", provider).close_acme(name)
        except ProviderError:
            # A server that is gone has no port.
            if await provider.find(name) is not None:
                raise
    async with database.system() as session:
        await session.execute(_SHUT, {"vps": row.id, "until": row.until})
    _log.info("port 80 of %s is shut", row.hostname)
