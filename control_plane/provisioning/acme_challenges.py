"""Records that a certificate authority looks for in servers' names (DNS-01, RFC 8555 section 8.4).

A server that is asked for some says so in its report. They are published at the DNS hosts of their zones, the
installation's own or one that a domain has chosen; as soon as every name server says all of them, the server is told by
a command. Each is withdrawn when the server wants it no more, or after ten minutes.

    write down -> publish -> seen at every name server -> tell the server -> report or ten minutes -> withdraw
    -> take the note away

The note comes first and goes last, so whatever a crash leaves in a zone is withdrawn by a later look. A zone that
cannot be written holds up no further attempt: what stays behind there is noted beside it.

SECURITY: a server speaks for its own name, and for the names of its domains that it is to have in its certificate
(fleet/policies.py). Anything else, or what is no such record, is passed over.
"""

import asyncio
import datetime as dt
import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from control_plane.dns.everywhere import servers_without
from control_plane.dns.plan import ZonePlan
from control_plane.dns.publish import Publisher, publish
from control_plane.dns.publishers.choice import publisher_for
from control_plane.dns.publishers.chosen import load_choice
from control_plane.fleet.commands import CommandOrder, request_command
from control_plane.fleet.policies import shown_by
from control_plane.pipelines.rounds import go_round
from control_plane.provisioning.challenge_notes import Challenge, Note, Place, asked_for, dumped, loaded, sort_out
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.refusals import WORLD_ERRORS
from control_plane.sealing import SealBroken
from protos.agent.v1.commands_pb2 import Command, IssueCertificate

#: The longest that a record is there; the agent gives an attempt up after half of it.
SHOWN_FOR = dt.timedelta(minutes=10)
#: A server that still waits is told again: a command goes out at most once.
TOLD_AGAIN = dt.timedelta(seconds=20)
#: For the server to take the command.
_COMMAND_LIFE = dt.timedelta(seconds=20)
_ERRORS = (*WORLD_ERRORS, SealBroken)
#: Servers that are looked after side by side, and seconds for one: DNS hosts have their own time-outs, and some calls.
_AT_ONCE, _SECONDS = 8, 60.0
#: One zone is published by one at a time, in a round as everywhere.
_Zones = defaultdict[str, asyncio.Lock]

# What a server said last counts while it holds its link; after that a note is there until its time is over.
_STANDING = text(
    "SELECT v.id, v.tenant_id, v.hostname, v.acme_challenges AS notes,"
    " coalesce(v.acme_challenges_told_at < now() - CAST(:again AS interval), true) AS untold,"
    " v.status <> 'deleted' AND v.banned_at IS NULL AS lives, v.link_session IS NOT NULL AS linked,"
    " r.report #> '{certificate_issue,challenges}' AS asked"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.tenant_id = v.tenant_id AND r.vps_id = v.id"
    " WHERE v.acme_challenges IS NOT NULL OR (v.link_session IS NOT NULL AND v.status <> 'deleted'"
    "  AND v.banned_at IS NULL AND r.report #> '{certificate_issue,challenges}' IS NOT NULL)"
)
_NOTE = text(
    "UPDATE vps_servers SET acme_challenges = CAST(:after AS jsonb),"
    " acme_challenges_told_at = CASE WHEN :more THEN NULL ELSE acme_challenges_told_at END"
    " WHERE id = :vps AND acme_challenges IS NOT DISTINCT FROM CAST(:before AS jsonb)"
    " AND (status <> 'deleted' OR NOT :more) RETURNING id"
)
_TELL = text(
    "UPDATE vps_servers SET acme_challenges_told_at = now() WHERE id = :vps AND acme_challenges = CAST(:notes AS jsonb)"
    " AND coalesce(acme_challenges_told_at < now() - CAST(:again AS interval), true) RETURNING id"
)

_log = logging.getLogger(__name__)


async def look_after_challenges(environment: Environment) -> None:
    """Withdraw what is over, publish what is asked for, and tell servers what is there."""
    async with environment.database.system() as session:
        rows = (await session.execute(_STANDING, {"again": TOLD_AGAIN})).all()
    zones: _Zones = defaultdict(asyncio.Lock)

    async def look(row: Row[Any]) -> None:
        try:
            await _look(environment, zones, row)
        except _ERRORS as error:
            _log.warning("the records for the certificate of %s: %s", row.hostname, error)

    await go_round("the records for the certificate of server", rows, look, at_once=_AT_ONCE, seconds=_SECONDS)


async def _look(environment: Environment, zones: _Zones, row: Row[Any]) -> None:
    now, notes = environment.clock(), loaded(row.notes)
    wanted = await _wanted(environment, row)
    over, standing, new = sort_out(notes, wanted if row.linked else None, now, lives=row.lives)
    left = await _withdraw(environment, zones, over, now)
    standing += [Note(challenge, now + SHOWN_FOR) for challenge in new]
    after = [*standing, *left]
    if after != notes and not await _note(environment, row, after, more=bool(new)):
        return
    if row.linked and standing and (new or row.untold):
        await _show(environment, zones, row, [note.challenge for note in standing], after)


async def _wanted(environment: Environment, row: Row[Any]) -> tuple[Challenge, ...]:
    """Return what the server asks for, if all of it are records for its own names."""
    if not (row.asked and row.lives and row.linked):
        return ()
    async with environment.database.system() as session:
        shown = await shown_by(session, row.id, by_dns=True)
    name, _, zone = row.hostname.partition(".")
    places = {row.hostname: Place(zone, name, None)}
    places |= {f"{label}.{each.name}": Place(each.name, label, each.id) for each in shown for label in each.certified}
    wanted = asked_for(row.asked, places)
    if wanted is None:
        _log.warning("%s asks for a record that is not its own, and gets none", row.hostname)
    return wanted or ()


async def _note(environment: Environment, row: Row[Any], after: Sequence[Note], *, more: bool) -> bool:
    """Replace the notes; say whether they were still those that were looked at."""
    values = {"vps": row.id, "before": dumped(loaded(row.notes)), "after": dumped(after), "more": more}
    async with environment.database.system() as session:
        return await session.scalar(_NOTE, values) is not None


async def _show(
    environment: Environment, zones: _Zones, row: Row[Any], challenges: Sequence[Challenge], notes: Sequence[Note]
) -> None:
    for zone, domain_id, there in _by_zone(challenges):
        records = [challenge.record for challenge in there]
        async with zones[zone]:
            await publish(await _publisher(environment, domain_id), zone, records, records, _remembered)
    nameservers = environment.settings.nameservers
    if any(await asyncio.gather(*(servers_without(challenge.record, nameservers) for challenge in challenges))):
        return
    deed = IssueCertificate(challenges_shown=[challenge.value for challenge in challenges])
    order = CommandOrder(row.tenant_id, row.id, Command(issue_certificate=deed), "certificates", _COMMAND_LIFE)
    async with environment.database.system() as session:
        if await session.scalar(_TELL, {"vps": row.id, "notes": dumped(notes), "again": TOLD_AGAIN}) is not None:
            await request_command(session, order)


async def _withdraw(environment: Environment, zones: _Zones, notes: Sequence[Note], now: dt.datetime) -> list[Note]:
    """Take the records out of their zones, and return those that are to be tried again.

    At a host that a domain has chosen nothing is tried for longer than a record is there: it may have been left.
    """
    left: list[Note] = []
    for zone, domain_id, there in _by_zone([note.challenge for note in notes]):
        try:
            records = [challenge.record for challenge in there]
            async with zones[zone]:
                await publish(await _publisher(environment, domain_id), zone, [], records, _remembered)
        except _ERRORS as error:
            _log.warning("records for an authority stay in %s: %s", zone, error)
            left += [n for n in notes if n.challenge in there and (domain_id is None or now < n.until)]
    return left


def _by_zone(challenges: Sequence[Challenge]) -> list[tuple[str, uuid.UUID | None, list[Challenge]]]:
    zones: dict[tuple[str, uuid.UUID | None], list[Challenge]] = {}
    for challenge in challenges:
        zones.setdefault((challenge.place.zone, challenge.place.domain_id), []).append(challenge)
    return [(*zone, there) for zone, there in zones.items()]


async def _publisher(environment: Environment, domain_id: uuid.UUID | None) -> Publisher:
    """Return where the records of a domain go, or those of servers' own names; raise `SealBroken` and its own."""
    if domain_id is None:
        return environment.publisher
    async with environment.database.system() as session:
        choice = await load_choice(session, domain_id, environment.sealer)
    return publisher_for(choice, environment.publisher, environment.settings)


async def _remembered(_: ZonePlan) -> None:
    """Do nothing: the note is there already."""
