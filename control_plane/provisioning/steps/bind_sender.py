"""Bind an inbox to the address that its pool gives it, once its domain's SPF record lists that (RFC 7208)."""

import uuid
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.judge import Verdict
from control_plane.dns.spf import is_spf
from control_plane.dns.verify import verify_inbox
from control_plane.pipelines.step import Cause, Done, Failed, NothingToUndo, Outcome, Result, Step, Wait, ceiling_of
from control_plane.pools.senders import bind, load_sending
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.steps.apply_configuration import request_configuration

_INBOX = text(
    "SELECT i.id, i.vps_id, v.ip_address IS NOT NULL AS has_address FROM inbox_senders s"
    " JOIN inboxes i ON i.tenant_id = s.tenant_id AND i.id = s.inbox_id"
    " JOIN vps_servers v ON v.tenant_id = i.tenant_id AND v.id = i.vps_id"
    " WHERE s.id = :id AND i.status <> 'deleting'"
)
_GONE = Failed("the inbox is being removed, or gone", Cause.GONE)
#: Seconds. Zones that people keep take hours.
_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class _Inbox:
    id: uuid.UUID
    vps_id: uuid.UUID


async def _load_inbox(context: StepContext) -> _Inbox | None:
    async with context.environment.database.system() as session:
        row = (await session.execute(_INBOX, {"id": context.subject_id})).one_or_none()
    return _Inbox(row.id, row.vps_id) if row else None


@dataclass(frozen=True, slots=True)
class OfInbox(NothingToUndo):
    """A step of an inbox's own runs, in a run about how the inbox sends."""

    step: Step[StepContext]
    name: str

    @property
    def patience(self) -> timedelta:
        """The step's own."""
        return self.step.patience

    @property
    def ceiling(self) -> timedelta:
        """The step's own."""
        return ceiling_of(self.step)

    async def run(self, context: StepContext) -> Outcome:
        """Run it for the inbox."""
        inbox = await _load_inbox(context)
        if inbox is None:
            return _GONE
        return await self.step.run(replace(context, run=replace(context.run, subject_id=inbox.id)))


class BindSender(NothingToUndo):
    """The server's own address is in the SPF record always, so that going back to it waits for nothing."""

    name = "bind_sender"
    patience = timedelta(days=7)

    async def run(self, context: StepContext) -> Outcome:
        """Look how it should send; the binding and the server's new version are written with the step."""
        inbox = await _load_inbox(context)
        if inbox is None:
            return _GONE
        database = context.environment.database
        async with database.system() as session:
            seen = await load_sending(session, context.tenant_id, inbox.id)
        if seen.wanted not in {None, seen.bound_to} and not await spf_is_there(context, inbox.id):
            return Wait("the domain's SPF record does not list the address yet", _PAUSE)

        async def write(session: AsyncSession) -> Result:
            now = await load_sending(session, context.tenant_id, inbox.id)
            # A pool that changed meanwhile has started a run of its own.
            if now.wanted == now.bound_to or now.wanted != seen.wanted:
                return {"vps_id": str(inbox.vps_id), "desired_version": 0}
            await bind(session, context.tenant_id, inbox.id, now.wanted)
            return await request_configuration(session, inbox.vps_id)

        return Done(apply=write)


async def spf_is_there(context: StepContext, inbox_id: uuid.UUID) -> bool:
    """Return whether the zone says what the inbox's SPF record should be."""
    environment = context.environment
    found = await verify_inbox(environment.database, inbox_id, context.tenant_id, environment.settings.nameservers)
    spf = [each for each in found if each.record.name == "@" and is_spf(each.record.value)]
    return bool(spf) and all(each.judgement.verdict is Verdict.VERIFIED for each in spf)
