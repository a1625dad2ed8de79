"""Records that a certificate authority looks for in servers' names (DNS-01, RFC 8555 section 8.4).

A server that is asked for one says so in its report. It is published at the installation's own DNS host, and as soon as
every name server says it, the server is told by a command; it is withdrawn when the server wants it no more, or after
ten minutes.

    write down -> publish -> seen at every name server -> tell the server -> report or ten minutes -> withdraw
    -> take the note away

The note comes first and goes last, so whatever a crash leaves in the zone is withdrawn by the next look.

SECURITY: a server speaks for its own name alone. Anything else, or what is no such record, is passed over.
"""

import logging
import re
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text

from control_plane.dns.everywhere import servers_without
from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import publish
from control_plane.dns.records import DnsRecord
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.refusals import WORLD_ERRORS
from protos.agent.v1.commands_pb2 import Command, IssueCertificate

#: The longest that a record is there; the agent gives an attempt up after half of it.
SHOWN_FOR = timedelta(minutes=10)
#: A server that still waits is told again: a command goes out at most once.
TOLD_AGAIN = timedelta(seconds=20)
#: For the server to take the command.
_COMMAND_LIFE = timedelta(seconds=20)
#: Seconds.
_TTL = 60
#: A SHA-256, base64url without padding.
_VALUE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

# What a server said last counts while it holds its link; after that the note is there until its time is over.
_STANDING = text(
    "SELECT v.id, v.tenant_id, v.hostname, v.acme_challenge AS noted, v.acme_challenge_until < now() AS over,"
    " coalesce(v.acme_challenge_told_at < now() - CAST(:again AS interval), true) AS untold,"
    " v.status <> 'deleted' AND v.banned_at IS NULL AS lives, v.link_session IS NOT NULL AS linked,"
    " r.report #>> '{certificate_issue,challenge,name}' AS name,"
    " r.report #>> '{certificate_issue,challenge,value}' AS value"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.tenant_id = v.tenant_id AND r.vps_id = v.id"
    " WHERE v.acme_challenge IS NOT NULL OR (v.link_session IS NOT NULL AND v.status <> 'deleted'"
    "  AND v.banned_at IS NULL AND r.report #> '{certificate_issue,challenge}' IS NOT NULL)"
)
_NOTE = text(
    "UPDATE vps_servers SET acme_challenge = :value, acme_challenge_until = now() + CAST(:shown_for AS interval),"
    " acme_challenge_told_at = NULL WHERE id = :vps AND acme_challenge IS NULL AND status <> 'deleted' RETURNING id"
)
_TELL = text(
    "UPDATE vps_servers SET acme_challenge_told_at = now() WHERE id = :vps AND acme_challenge = :value"
    " AND coalesce(acme_challenge_told_at < now() - CAST(:again AS interval), true) RETURNING id"
)
_FORGET = text(
    "UPDATE vps_servers SET acme_challenge = NULL, acme_challenge_until = NULL, acme_challenge_told_at = NULL"
    " WHERE id = :vps AND acme_challenge = :value"
)

_log = logging.getLogger(__name__)


def challenge_record(hostname: str, value: str) -> DnsRecord:
    """Return the record in the platform's zone."""
    name, _, zone = hostname.partition(".")
    return DnsRecord(zone, "TXT", f"_acme-challenge.{name}", value, _TTL)


async def look_after_challenges(environment: Environment) -> None:
    """Withdraw what is over, publish what is asked for, and tell servers what is there."""
    async with environment.database.system() as session:
        rows = (await session.execute(_STANDING, {"again": TOLD_AGAIN})).all()
    for row in rows:
        try:
            await _look(environment, row)
        except WORLD_ERRORS as error:
            _log.warning("the record for the certificate of %s: %s", row.hostname, error)


async def _look(environment: Environment, row: Row[Any]) -> None:
    wanted = _wanted(row)
    if row.noted is None:
        if wanted is not None and await _note(environment, row, wanted):
            await _show(environment, row, wanted)
    elif row.over or not row.lives or (row.linked and wanted != row.noted):
        await _withdraw(environment, row)
    elif row.linked and row.untold:
        await _show(environment, row, row.noted)


def _wanted(row: Row[Any]) -> str | None:
    """Return the value that the server asks for, if it is one and for its own name."""
    if row.name is None or not row.lives or not row.linked:
        return None
    if row.name != f"_acme-challenge.{row.hostname}" or not _VALUE.fullmatch(row.value or ""):
        _log.warning("%s asks for a record that is not its own, and does not get it", row.hostname)
        return None
    value: str = row.value
    return value


async def _note(environment: Environment, row: Row[Any], value: str) -> bool:
    async with environment.database.system() as session:
        noted = await session.scalar(_NOTE, {"vps": row.id, "value": value, "shown_for": SHOWN_FOR})
    return noted is not None


async def _show(environment: Environment, row: Row[Any], value: str) -> None:
    record = challenge_record(row.hostname, value)
    await publish(environment.publisher, record.zone, [record], [record], _remembered)
    if await servers_without(record, environment.settings.nameservers):
        return
    deed = IssueCertificate(challenge_shown=value)
    order = CommandOrder(row.tenant_id, row.id, Command(issue_certificate=deed), "certificates", _COMMAND_LIFE)
    async with environment.database.system() as session:
        if await session.scalar(_TELL, {"vps": row.id, "value": value, "again": TOLD_AGAIN}) is not None:
            await request_command(session, order)


async def _withdraw(environment: Environment, row: Row[Any]) -> None:
    record = challenge_record(row.hostname, row.noted)
    await publish(environment.publisher, record.zone, [], [record], _remembered)
    async with environment.database.system() as session:
        await session.execute(_FORGET, {"vps": row.id, "value": row.noted})


async def _remembered(_: ZonePlan) -> None:
    """Do nothing: the note is there already."""
