"""The kinds of run there are, each with its steps in order, and what a failure means for its subject."""

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Pipeline, Run, Step
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.states import InboxStatus, ServerStatus, move_inbox, move_server
from control_plane.provisioning.steps.apply_configuration import ApplyConfiguration, RequestConfiguration
from control_plane.provisioning.steps.await_agent import AwaitAgent
from control_plane.provisioning.steps.await_server import AwaitServer
from control_plane.provisioning.steps.create_server import CreateServer
from control_plane.provisioning.steps.delete_server import DeleteServer
from control_plane.provisioning.steps.forget_inbox import ForgetInbox
from control_plane.provisioning.steps.generate_records import GenerateRecords
from control_plane.provisioning.steps.mark_server import MarkServer
from control_plane.provisioning.steps.publish_domain_dns import PublishDomainDns
from control_plane.provisioning.steps.publish_server_dns import PublishServerDns, WithdrawServerDns
from control_plane.provisioning.steps.revoke_agent import RevokeAgent
from control_plane.provisioning.steps.verify_mail_flow import VerifyMailFlow
from control_plane.provisioning.steps.verify_records import AwaitRecords, VerifyRecords

#: DNS is published while the agent already configures its server.
_STEPS: Mapping[str, Sequence[Step[StepContext]]] = {
    "vps.provision": (
        CreateServer(),
        AwaitAgent(),
        PublishServerDns(),
        ApplyConfiguration(raised_by="create_server"),
        VerifyMailFlow(),
        MarkServer(ServerStatus.READY),
    ),
    "vps.decommission": (RevokeAgent(), DeleteServer(), WithdrawServerDns(), MarkServer(ServerStatus.DELETED)),
    "inbox.setup": (
        GenerateRecords(),
        AwaitServer(),
        RequestConfiguration(),
        PublishDomainDns(),
        ApplyConfiguration(raised_by="request_configuration"),
        AwaitRecords(),
        VerifyRecords(),
    ),
    "inbox.remove": (PublishDomainDns(name="withdraw_dns"), ForgetInbox()),
}


#: What a run works on has one of these statuses; its failure concerns nobody else. A setup that fails because the
#: removal was asked for must not stop the removal.
_SERVERS_OF: Mapping[str, frozenset[ServerStatus]] = {
    "vps.provision": frozenset({ServerStatus.PROVISIONING}),
    "vps.decommission": frozenset({ServerStatus.DELETING}),
}
_INBOXES_OF: Mapping[str, frozenset[InboxStatus]] = {
    "inbox.setup": frozenset({InboxStatus.PENDING_SETUP, InboxStatus.PENDING_DNS}),
    "inbox.remove": frozenset({InboxStatus.DELETING}),
}


def pipelines(environment: Environment) -> Mapping[str, Pipeline[StepContext]]:
    """Return all kinds of run, ready to be worked on."""
    return {
        kind: Pipeline(
            kind=kind,
            steps=steps,
            context=partial(StepContext, environment),
            on_failure=_server_failed if kind in _SERVERS_OF else _inbox_failed,
        )
        for kind, steps in _STEPS.items()
    }


async def _server_failed(session: AsyncSession, run: Run, reason: str) -> None:
    await move_server(session, run.subject_id, ServerStatus.FAILED, reason, _SERVERS_OF[run.kind])


async def _inbox_failed(session: AsyncSession, run: Run, reason: str) -> None:
    await move_inbox(session, run.subject_id, InboxStatus.FAILED, reason, _INBOXES_OF[run.kind])
