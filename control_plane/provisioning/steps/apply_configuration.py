"""Have the server configured: raise its version, and wait until its agent has applied and verified that."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.desired import raise_desired_version
from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome, Result, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.inboxes import load_inbox

# What an earlier version came to must not be taken for this one's result.
_FORGET_RESULT = text("UPDATE vps_servers SET mail_server_status = 'configuring' WHERE id = :id")
_APPLIED = text(
    "SELECT applied_version, desired_version, mail_server_status, applied_detail FROM vps_servers WHERE id = :id"
)


class RequestConfiguration(NothingToUndo):
    """Raise the version of an inbox's server once; the raise is recorded with the step, or not at all."""

    name = "request_configuration"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Find the server; the raise itself is written with the step."""
        inbox = await load_inbox(context)
        return Done(apply=lambda session: request_configuration(session, inbox.vps_id))


@dataclass(frozen=True, slots=True)
class ApplyConfiguration(NothingToUndo):
    """Wait for the version that the step `raised_by` left in its result, or a newer one."""

    raised_by: str
    name: str = "apply_configuration"
    patience: timedelta = timedelta(minutes=20)

    async def run(self, context: StepContext) -> Outcome:
        """Look what the agent last reported."""
        wanted: Mapping[str, Any] = context.run.results[self.raised_by]
        async with context.environment.database.system() as session:
            report = (await session.execute(_APPLIED, {"id": uuid.UUID(wanted["vps_id"])})).one()
        if report.applied_version >= wanted["desired_version"] and report.mail_server_status == "running":
            return Done({"applied_version": report.applied_version, "detail": report.applied_detail})
        if verdict := _FINAL.get(report.mail_server_status):
            return Failed(f"the server's configuration was {verdict}: {report.applied_detail}")
        return Wait("the server has not applied its configuration yet")


_FINAL = {"refused": "refused by its checkers", "rolled_back": "rolled back"}


async def request_configuration(session: AsyncSession, vps_id: uuid.UUID) -> Result:
    """Raise the server's version and return what `ApplyConfiguration` waits for."""
    version = await raise_desired_version(session, vps_id)
    await session.execute(_FORGET_RESULT, {"id": vps_id})
    return {"vps_id": str(vps_id), "desired_version": version}
