"""The kinds of run there are: the steps in order, what becomes of a run that cannot go on, and of its subject then."""

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.inboxes.moves import LEAVE_RUN, MOVE_RUN
from control_plane.inboxes.server_deeds import REBUILD_KIND
from control_plane.pipelines.step import Cause, Pipeline, Resolution, Run, Step
from control_plane.provisioning.draining import HOLD_KIND
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.hosts import host_of_server
from control_plane.provisioning.power import PowerAction
from control_plane.provisioning.sending_kinds import sending_pipelines
from control_plane.provisioning.states import (
    InboxStatus,
    ServerStatus,
    move_inbox,
    move_server,
    note_inbox,
    note_server,
)
from control_plane.provisioning.steps.apply_configuration import ApplyConfiguration, RequestConfiguration
from control_plane.provisioning.steps.await_agent import AwaitAgent
from control_plane.provisioning.steps.await_certificate import AwaitCertificate
from control_plane.provisioning.steps.await_server import AwaitServer
from control_plane.provisioning.steps.create_server import CreateServer
from control_plane.provisioning.steps.delete_server import DeleteServer
from control_plane.provisioning.steps.drain_server import DrainServer
from control_plane.provisioning.steps.forget_inbox import ForgetInbox
from control_plane.provisioning.steps.generate_records import GenerateRecords
from control_plane.provisioning.steps.hand_over import HandOver
from control_plane.provisioning.steps.hold_back import HoldBack
from control_plane.provisioning.steps.keep_mail import CutOff, EmptyServer, FetchMail, HoldForRebuild, PackAway
from control_plane.provisioning.steps.leave_server import (
    AwaitMx,
    AwaitQuiet,
    CloseSource,
    DeleteSourceMail,
    FinishMove,
    Forward,
    HandSendsOver,
    ReleaseWaiting,
    TakeOver,
)
from control_plane.provisioning.steps.mark_server import MarkServer
from control_plane.provisioning.steps.move_inbox import (
    AwaitSpf,
    ClearTarget,
    EndSessions,
    Hold,
    Mirror,
    OpenSource,
    OpenTarget,
    Switch,
    WidenRecords,
)
from control_plane.provisioning.steps.preflight import InspectServer, Preflight
from control_plane.provisioning.steps.publish_domain_dns import PublishDomainDns
from control_plane.provisioning.steps.publish_host_dns import PublishHostDns, WithdrawHostDns
from control_plane.provisioning.steps.rebuild_server import (
    AwaitRebuilt,
    Onward,
    PutMailBack,
    Reinstall,
    SendMailBack,
    UseAgain,
)
from control_plane.provisioning.steps.revoke_agent import RevokeAgent
from control_plane.provisioning.steps.rotate_dkim import (
    AwaitQueueLife,
    AwaitSwitch,
    ForgetKey,
    MakeKey,
    PublishKeys,
    SwitchKey,
    VerifyKey,
)
from control_plane.provisioning.steps.start_joining import StartJoining
from control_plane.provisioning.steps.switch_power import SwitchPower
from control_plane.provisioning.steps.verify_mail_flow import VerifyMailFlow
from control_plane.provisioning.steps.verify_records import AwaitRecords, VerifyRecords

#: DNS is published while the agent already configures its server.
_STEPS: Mapping[str, Sequence[Step[StepContext]]] = {
    "vps.provision": (
        CreateServer(),
        StartJoining(),
        AwaitAgent(),
        PublishHostDns(host_of_server),
        Preflight(),
        ApplyConfiguration(raised_by="create_server"),
        VerifyMailFlow(),
        AwaitCertificate(),
        MarkServer(ServerStatus.READY),
    ),
    "vps.preflight": (InspectServer(),),
    "vps.decommission": (
        DrainServer(),
        HandOver(),
        MarkServer(ServerStatus.DELETING),
        RevokeAgent(),
        DeleteServer(),
        WithdrawHostDns(host_of_server),
        MarkServer(ServerStatus.DELETED),
    ),
    HOLD_KIND: (HoldBack(),),
    REBUILD_KIND: (
        HoldForRebuild(),
        EmptyServer(),
        PackAway(),
        FetchMail(),
        CutOff(),
        Onward(Reinstall()),
        Onward(StartJoining()),
        Onward(AwaitRebuilt()),
        Onward(SendMailBack()),
        Onward(PutMailBack()),
        Onward(ApplyConfiguration(raised_by="unpack_mail")),
        Onward(VerifyMailFlow()),
        Onward(AwaitCertificate()),
        UseAgain(),
    ),
    **{action.run_kind: (SwitchPower(action),) for action in PowerAction},
    "inbox.setup": (
        GenerateRecords(),
        AwaitServer(),
        RequestConfiguration(),
        PublishDomainDns(),
        ApplyConfiguration(raised_by="request_configuration"),
        AwaitRecords(),
        VerifyRecords(),
    ),
    "inbox.repair_dns": (GenerateRecords(), PublishDomainDns(), VerifyRecords()),
    "domain.rotate_dkim": (
        MakeKey(),
        PublishKeys("publish_key"),
        VerifyKey(),
        SwitchKey(),
        AwaitSwitch(),
        AwaitQueueLife(),
        PublishKeys("withdraw_key"),
        ForgetKey(),
    ),
    "inbox.remove": (PublishDomainDns(name="withdraw_dns"), ForgetInbox()),
    # DNS learns of the target while the first copy, the long one, is made.
    MOVE_RUN: (
        ClearTarget(),
        OpenSource(),
        OpenTarget(),
        ApplyConfiguration(raised_by="open_source", name="apply_source"),
        ApplyConfiguration(raised_by="open_target", name="apply_target"),
        WidenRecords(),
        PublishDomainDns("dns.publish_spf"),
        Mirror("copy"),
        AwaitSpf(),
        Mirror("copy_again"),
        Hold(),
        ApplyConfiguration(raised_by="hold", name="apply_hold"),
        EndSessions(),
        Mirror("copy_rest"),
        Switch(),
    ),
    LEAVE_RUN: (
        TakeOver(),
        ApplyConfiguration(raised_by="take_over", name="apply_taking_over"),
        Forward(),
        ApplyConfiguration(raised_by="forward", name="apply_forwarding"),
        ReleaseWaiting(),
        PublishDomainDns(),
        HandSendsOver(),
        AwaitMx(),
        AwaitQuiet(),
        CloseSource(),
        ApplyConfiguration(raised_by="close_source", name="apply_closing"),
        DeleteSourceMail(),
        FinishMove(),
        PublishDomainDns(name="withdraw_dns"),
    ),
}

#: What becomes of a run that cannot go on. A server that cannot be made is taken back, for it costs money; one that
#: cannot be removed costs money too, so a person is asked. An inbox has nothing of its own in the world but records,
#: which its removal withdraws.
_RESOLUTIONS: Mapping[str, Mapping[Cause, Resolution]] = {
    "vps.provision": {
        Cause.REFUSED: Resolution.UNDO,
        Cause.GIVEN_UP: Resolution.UNDO,
        # The removal takes everything away itself.
        Cause.GONE: Resolution.STOP,
    },
    "vps.preflight": dict.fromkeys(Cause, Resolution.STOP),
    "vps.decommission": dict.fromkeys(Cause, Resolution.ASK_PERSON),
    # What could not be done is told, and the server stays what it was.
    **{action.run_kind: dict.fromkeys(Cause, Resolution.STOP) for action in PowerAction},
    HOLD_KIND: dict.fromkeys(Cause, Resolution.ASK_PERSON),
    # Only what is before the deed fails; after it a person is asked.
    REBUILD_KIND: dict.fromkeys(Cause, Resolution.ASK_PERSON) | {Cause.REFUSED: Resolution.UNDO},
    "inbox.setup": {
        Cause.REFUSED: Resolution.ASK_PERSON,
        Cause.GIVEN_UP: Resolution.ASK_PERSON,
        Cause.GONE: Resolution.STOP,
    },
    # Mail goes on being signed with the key that the zone has.
    "domain.rotate_dkim": {
        Cause.REFUSED: Resolution.ASK_PERSON,
        Cause.GIVEN_UP: Resolution.ASK_PERSON,
        Cause.GONE: Resolution.STOP,
    },
    # What is wrong stays on the records, by name.
    "inbox.repair_dns": dict.fromkeys(Cause, Resolution.STOP),
    "inbox.remove": dict.fromkeys(Cause, Resolution.ASK_PERSON),
    MOVE_RUN: dict.fromkeys(Cause, Resolution.UNDO),
    LEAVE_RUN: dict.fromkeys(Cause, Resolution.ASK_PERSON),
}
_SERVER_REMEDY = "Put right what the reason names and resume the run, or have the server removed."
_INBOX_REMEDY = "Put right what the reason names and resume the run, or have the inbox removed."

#: What a run works on has one of these statuses; its failure concerns nobody else. A setup that fails because the
#: removal was asked for must not stop the removal.
_SERVERS_OF: Mapping[str, frozenset[ServerStatus]] = {
    "vps.provision": frozenset({ServerStatus.PROVISIONING}),
    "vps.preflight": frozenset[ServerStatus](),
    # It is ready until it is empty.
    "vps.decommission": frozenset({ServerStatus.READY, ServerStatus.DELETING}),
    HOLD_KIND: frozenset(),
    REBUILD_KIND: frozenset({ServerStatus.READY}),
    **{action.run_kind: frozenset[ServerStatus]() for action in PowerAction},
}
_INBOXES_OF: Mapping[str, frozenset[InboxStatus]] = {
    "inbox.setup": frozenset({InboxStatus.PENDING_SETUP, InboxStatus.PENDING_DNS}),
    "inbox.repair_dns": frozenset[InboxStatus](),
    # A domain has no status: what is the matter stands on its run.
    "domain.rotate_dkim": frozenset[InboxStatus](),
    "inbox.remove": frozenset({InboxStatus.DELETING}),
    # It works wherever it is.
    MOVE_RUN: frozenset[InboxStatus](),
    LEAVE_RUN: frozenset[InboxStatus](),
}


def pipelines(environment: Environment) -> Mapping[str, Pipeline[StepContext]]:
    """Return all kinds of run, ready to be worked on."""
    return dict(sending_pipelines(environment)) | {
        kind: Pipeline(
            kind=kind,
            steps=steps,
            context=partial(StepContext, environment),
            on_failure=_server_failed if kind in _SERVERS_OF else _inbox_failed,
            on_person=_server_waits if kind in _SERVERS_OF else _inbox_waits,
            resolutions=_RESOLUTIONS[kind],
            remedy=_SERVER_REMEDY if kind in _SERVERS_OF else _INBOX_REMEDY,
        )
        for kind, steps in _STEPS.items()
    }


async def _server_failed(session: AsyncSession, run: Run, reason: str) -> None:
    await move_server(session, run.subject_id, ServerStatus.FAILED, reason, _SERVERS_OF[run.kind])


async def _inbox_failed(session: AsyncSession, run: Run, reason: str) -> None:
    await move_inbox(session, run.subject_id, InboxStatus.FAILED, reason, _INBOXES_OF[run.kind])


async def _server_waits(session: AsyncSession, run: Run, reason: str | None) -> None:
    await note_server(session, run.subject_id, reason, _SERVERS_OF[run.kind])


async def _inbox_waits(session: AsyncSession, run: Run, reason: str | None) -> None:
    await note_inbox(session, run.subject_id, reason, _INBOXES_OF[run.kind])
