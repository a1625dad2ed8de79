"""The kinds of run about by which address mail goes out: an address got, an address given back, an inbox bound."""

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.pipelines.step import Cause, Pipeline, Resolution, Run, Step
from control_plane.pools.addresses import ADD_RUN, RETIRE_RUN
from control_plane.pools.senders import BIND_RUN
from control_plane.pools.states import AddressState, move_address, note_address
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.hosts import host_of_address
from control_plane.provisioning.steps.apply_configuration import ApplyConfiguration
from control_plane.provisioning.steps.bind_sender import BindSender, OfInbox
from control_plane.provisioning.steps.drain_address import AddressReleased, AwaitDrained, LetAddressGo, UnbindSenders
from control_plane.provisioning.steps.generate_records import GenerateRecords
from control_plane.provisioning.steps.publish_domain_dns import PublishDomainDns
from control_plane.provisioning.steps.publish_host_dns import PublishHostDns, WithdrawHostDns
from control_plane.provisioning.steps.server_addresses import (
    AddAddress,
    AddressReady,
    ConfigureAddress,
    GiveAddressBack,
)

_STEPS: Mapping[str, Sequence[Step[StepContext]]] = {
    ADD_RUN: (
        AddAddress(),
        PublishHostDns(host_of_address),
        ConfigureAddress(),
        ApplyConfiguration(raised_by="configure_address"),
        AddressReady(),
    ),
    RETIRE_RUN: (
        UnbindSenders(),
        ApplyConfiguration(raised_by="unbind_senders"),
        AwaitDrained(),
        LetAddressGo(),
        ApplyConfiguration(raised_by="let_go", name="apply_release"),
        GiveAddressBack(),
        WithdrawHostDns(host_of_address),
        AddressReleased(),
    ),
    # First SPF with the new address, then the binding, then SPF without the old one.
    BIND_RUN: (
        OfInbox(GenerateRecords(), "dns.generate"),
        OfInbox(PublishDomainDns(), "publish_dns"),
        BindSender(),
        ApplyConfiguration(raised_by="bind_sender"),
        OfInbox(GenerateRecords(), "dns.narrow"),
        OfInbox(PublishDomainDns(), "withdraw_dns"),
    ),
}

#: An address that cannot be had is taken back, for it costs money; one that cannot be given back does too, so a person
#: is asked. An inbox that cannot be bound goes on sending as it did.
_RESOLUTIONS: Mapping[str, Mapping[Cause, Resolution]] = {
    ADD_RUN: dict.fromkeys(Cause, Resolution.UNDO),
    RETIRE_RUN: dict.fromkeys(Cause, Resolution.ASK_PERSON),
    BIND_RUN: {
        Cause.REFUSED: Resolution.ASK_PERSON,
        Cause.GIVEN_UP: Resolution.ASK_PERSON,
        Cause.GONE: Resolution.STOP,
    },
}
_REMEDY = "Put right what the reason names and resume the run."


def sending_pipelines(environment: Environment) -> Mapping[str, Pipeline[StepContext]]:
    """Return these kinds of run, ready to be worked on."""
    return {
        kind: Pipeline(
            kind=kind,
            steps=steps,
            context=partial(StepContext, environment),
            on_failure=_address_failed if kind == ADD_RUN else _nothing,
            on_person=_nothing if kind == BIND_RUN else _address_waits,
            resolutions=_RESOLUTIONS[kind],
            remedy=_REMEDY,
        )
        for kind, steps in _STEPS.items()
    }


async def _address_failed(session: AsyncSession, run: Run, reason: str) -> None:
    await move_address(session, run.subject_id, AddressState.FAILED, reason)


async def _address_waits(session: AsyncSession, run: Run, reason: str | None) -> None:
    await note_address(session, run.subject_id, reason)


async def _nothing(_session: AsyncSession, _run: Run, _reason: str | None) -> None:
    """Leave it to the run to say what is the matter; the inbox sends as before."""
