"""Change a domain's DKIM key while mail flows: publish, see it everywhere, switch, let the queues empty, withdraw.

What each key is doing is in `dkim_keys.state` (inboxes/dkim_rotation.py). Each step looks there first, so that it may
be repeated, and what an earlier run left half-way is gone on with. Until the switch mail is signed with the old key,
which stays in the zone until nothing that it signed can be on its way.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import tenant_keys
from control_plane.dns.everywhere import servers_without
from control_plane.dns.generate import forget_withdrawn, generate_records, mark_applied
from control_plane.dns.records import DnsRecord, dkim_record
from control_plane.fleet.desired import raise_desired_version
from control_plane.inboxes.dkim_rotation import (
    QUEUE_LIFE,
    KeyInPlace,
    forget_keys,
    insert_next_key,
    keys_of,
    make_next_key,
    note_retired,
    switch_keys,
    withdraw_keys,
)
from control_plane.pipelines.step import AskPerson, Cause, Done, Failed, NothingToUndo, Outcome, Result, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.refusals import WORLD_ERRORS, outcome_of
from control_plane.provisioning.steps.publish_domain_dns import publish_domain

_DOMAIN = text(
    "SELECT name FROM domains d WHERE id = :domain AND EXISTS (SELECT FROM inboxes i WHERE i.domain_id = d.id)"
)
_SERVERS = text("SELECT DISTINCT vps_id FROM inboxes WHERE domain_id = :domain AND vps_id IS NOT NULL")
_BEHIND = text(
    "SELECT v.hostname FROM vps_servers v WHERE v.id = ANY(:servers) AND v.status = 'ready'"
    " AND v.applied_version < (CAST(:versions AS jsonb) ->> v.id::text)::int ORDER BY v.hostname"
)
_GONE = Failed("the domain is gone, or its last inbox", Cause.GONE)
_LONGEST_LOOK_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Domain:
    name: str
    keys: list[KeyInPlace]

    def in_state(self, state: str) -> KeyInPlace | None:
        return next((key for key in self.keys if key.state == state), None)

    def record_of(self, key: KeyInPlace) -> DnsRecord:
        return dkim_record(self.name, key.selector, key.public_key)


async def _load(context: StepContext) -> _Domain | None:
    async with context.environment.database.system() as session:
        name: str | None = await session.scalar(_DOMAIN, {"domain": context.subject_id})
        return _Domain(name, await keys_of(session, context.subject_id)) if name else None


class MakeKey(NothingToUndo):
    """A key that does not sign yet, and its record for each inbox of the domain."""

    name = "make_key"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Make one unless there is one, or a rotation that was left half-way has to end first."""
        domain = await _load(context)
        if domain is None:
            return _GONE
        if domain.in_state("next") or domain.in_state("retiring") or domain.in_state("withdrawn"):
            return Done()
        environment = context.environment
        async with environment.database.system() as session:
            sealing = await tenant_keys(session, environment.sealer, context.tenant_id)
        key = await make_next_key(domain.keys, sealing)

        async def write(session: AsyncSession) -> None:
            await insert_next_key(session, context.tenant_id, context.subject_id, key)
            await generate_records(session, context.tenant_id, context.subject_id)

        return Done({"selector": key.selector}, write)


@dataclass(frozen=True, slots=True)
class PublishKeys(NothingToUndo):
    """Bring the domain's zone up to date, with the next key's record or without the withdrawn one's."""

    name: str
    patience: timedelta = timedelta(hours=24)

    async def run(self, context: StepContext) -> Outcome:
        """Publish all of the domain's records; only what stands in a key's place holds the rotation up."""
        domain = await _load(context)
        if domain is None:
            return _GONE
        try:
            plan = await publish_domain(context, context.subject_id, domain.name)
        except WORLD_ERRORS as error:
            return outcome_of(error, "DNS was not published")
        in_the_way = [c for c in plan.conflicts if c.record.name.endswith("._domainkey")]
        if in_the_way:
            return AskPerson(str(in_the_way[0]), in_the_way[0].remedy)

        async def note(session: AsyncSession) -> None:
            await forget_withdrawn(session, context.subject_id)
            await mark_applied(session, context.subject_id, domain.name)

        return Done({"changes": [str(change) for change in plan.changes]}, note)


class VerifyKey(NothingToUndo):
    """Wait until every name server of the zone has the next key; a tenant that writes by hand has a week."""

    name = "verify_key"
    patience = timedelta(days=7)

    async def run(self, context: StepContext) -> Outcome:
        """Ask each server by itself."""
        domain = await _load(context)
        if domain is None:
            return _GONE
        key = domain.in_state("next")
        if key is None:
            return Done()
        without = await servers_without(domain.record_of(key), context.environment.settings.nameservers)
        if without:
            return Wait(f"{domain.record_of(key).fqdn} is not said yet by {', '.join(without)}", 20.0)
        return Done()


class SwitchKey(NothingToUndo):
    """Have the next key sign; each server of the domain hears of it at once."""

    name = "switch_key"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Write both states and the servers' new versions in one transaction."""
        if await _load(context) is None:
            return _GONE
        now = context.environment.clock()

        async def switch(session: AsyncSession) -> Result:
            await switch_keys(session, context.subject_id, now)
            return {"versions": await _raise_versions(session, context.subject_id)}

        return Done(apply=switch)


class AwaitSwitch(NothingToUndo):
    """Wait until no server signs with the old key: one that is off may have mail to sign when it is back."""

    name = "await_switch"
    patience = timedelta(days=30)

    async def run(self, context: StepContext) -> Outcome:
        """Compare the versions that the servers have applied with those of the switch."""
        if await _load(context) is None:
            return _GONE
        versions: dict[str, int] = context.run.results["switch_key"]["versions"]
        servers = [uuid.UUID(server) for server in versions]
        async with context.environment.database.system() as session:
            behind = list(await session.scalars(_BEHIND, {"servers": servers, "versions": json.dumps(versions)}))
        if behind:
            return Wait(f"{', '.join(behind)} may still sign with the old key", 5.0)
        now = context.environment.clock()
        return Done(apply=lambda session: note_retired(session, context.subject_id, now))


class AwaitQueueLife(NothingToUndo):
    """Leave the old key in the zone for as long as anything signed with it may be on its way."""

    name = "retire_key"
    patience = timedelta(days=30)

    async def run(self, context: StepContext) -> Outcome:
        """Wait by the clock, then take the key out of what should be in the zone."""
        domain = await _load(context)
        if domain is None:
            return _GONE
        now = context.environment.clock()
        key = domain.in_state("retiring")
        if key is not None and key.retired_at is not None and now < key.retired_at + QUEUE_LIFE:
            left = key.retired_at + QUEUE_LIFE - now
            reason = (
                f"mail signed with {key.selector} may be on its way until {key.retired_at + QUEUE_LIFE:%F %H:%M} UTC"
            )
            return Wait(reason, min(left.total_seconds(), _LONGEST_LOOK_SECONDS))
        return Done(apply=lambda session: withdraw_keys(session, context.subject_id, now))


class ForgetKey(NothingToUndo):
    """Delete the old key once it is out of the zone, here and on the servers."""

    name = "forget_key"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Write all of it together with the step."""

        async def forget(session: AsyncSession) -> None:
            await forget_keys(session, context.subject_id)
            await _raise_versions(session, context.subject_id)

        return Done(apply=forget)


async def _raise_versions(session: AsyncSession, domain_id: uuid.UUID) -> dict[str, int]:
    servers = (await session.scalars(_SERVERS, {"domain": domain_id})).all()
    return {str(server): await raise_desired_version(session, server) for server in servers}
