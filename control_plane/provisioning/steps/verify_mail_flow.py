"""Verify the whole server from outside, with real mail, before it is called ready."""

from datetime import timedelta
from functools import partial

from sqlalchemy import text

from control_plane.abandonable import abandonable
from control_plane.data_keys.keys import open_sealed
from control_plane.fleet.desired import PROBE_LOCAL_PART
from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Wait
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.mail_flow import MailFlowBroken, ProbeTarget, verify_mail_flow
from control_plane.provisioning.requests import probe_password_place

_TARGET = text(
    "SELECT hostname, host(ip_address) AS ipv4_address, probe_password_sealed FROM vps_servers WHERE id = :id"
)


class VerifyMailFlow(NothingToUndo):
    """Daemons that have just been started are given a little time."""

    name = "verify_mail_flow"
    patience = timedelta(minutes=3)

    async def run(self, context: StepContext) -> Outcome:
        """Send, refuse, receive."""
        target = await _target(context)
        try:
            await abandonable(partial(verify_mail_flow, target))
        except MailFlowBroken as broken:
            return Wait(str(broken), 1.0)
        return Done({"mailbox": target.mailbox})


async def _target(context: StepContext) -> ProbeTarget:
    async with context.environment.database.system() as session:
        row = (await session.execute(_TARGET, {"id": context.subject_id})).one()
        place = probe_password_place(context.subject_id)
        password = await open_sealed(session, context.environment.sealer, row.probe_password_sealed, place)
    return ProbeTarget(
        ipv4_address=row.ipv4_address,
        hostname=row.hostname,
        helo=f"verify.{context.environment.settings.platform_domain}",
        mailbox=f"{PROBE_LOCAL_PART}@{row.hostname}",
        password=password.decode(),
    )
