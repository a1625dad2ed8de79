"""Rebuild a server whose mail is here, bring the mail back, and use the server again.

There is no way back from here on: a person is asked, and the run goes on from where it is. The mail stays here until
the mail server runs with it.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.tokens import forget_join_tokens
from control_plane.pipelines.step import AskPerson, Done, Failed, NothingToUndo, Outcome, Result, Step, Wait, ceiling_of
from control_plane.providers.base import Capability, ProviderError, RebuildsServers
from control_plane.provisioning.cloud_init import render_user_data
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.kept_mail import NotCarried, ask, send_back
from control_plane.provisioning.rebuilding import PackedMail, end_rebuild, hold_configuration
from control_plane.provisioning.refusals import no_provider, outcome_of
from control_plane.provisioning.servers import load_server, provider_of
from control_plane.provisioning.steps.apply_configuration import request_configuration
from control_plane.provisioning.steps.create_server import join_data
from control_plane.provisioning.steps.keep_mail import load_packed
from protos.agent.v1.commands_pb2 import KeepMail, UnpackMail

_REMEDY = "The server's mail is kept here. Put right what the reason names and resume the run."
_UNPACK_LIFE = timedelta(minutes=10)
#: What is sent is sent whole: one that is broken off begins anew.
_LONGEST_SEND = timedelta(hours=2)
_AGAIN_SECONDS = 5.0
_LINKED = text(
    "SELECT link_session IS NOT NULL AS linked, agent_version,"
    " EXISTS (SELECT FROM agent_certificates c WHERE c.vps_id = v.id AND c.revoked_at IS NULL) AS enrolled"
    " FROM vps_servers v WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class Onward(NothingToUndo):
    """A step that cannot be called off: where it would fail, a person is asked."""

    step: Step[StepContext]

    @property
    def name(self) -> str:
        """The step's own."""
        return self.step.name

    @property
    def patience(self) -> timedelta:
        """The step's own."""
        return self.step.patience

    @property
    def ceiling(self) -> timedelta:
        """The step's own."""
        return ceiling_of(self.step)

    async def run(self, context: StepContext) -> Outcome:
        """Run the step."""
        outcome = await self.step.run(context)
        return AskPerson(outcome.reason, _REMEDY) if isinstance(outcome, Failed) else outcome


class Reinstall(NothingToUndo):
    """Have the provider overwrite the disk with the image, once for this rebuild."""

    name = "rebuild"
    patience = timedelta(hours=1)

    async def run(self, context: StepContext) -> Outcome:
        """Ask with a new join token; the provider does nothing when this rebuild was done already."""
        rebuild, _ = await load_packed(context)
        server = await load_server(context)
        provider = provider_of(context, server)
        if provider is None:
            return no_provider(server.provider)
        if not isinstance(provider, RebuildsServers):
            return Failed(f"the provider {server.provider} cannot rebuild a server")
        takes_data = Capability.USER_DATA in provider.capabilities
        user_data = render_user_data(await join_data(context, server)) if takes_data else ""
        until = await context.fence()
        try:
            await provider.rebuild(server.provider_name, user_data, rebuild.generation, until)
        except ProviderError as error:
            return outcome_of(error, "the provider refused to rebuild the server")
        return Done({"generation": rebuild.generation})


class AwaitRebuilt(NothingToUndo):
    """Wait until the new system's agent has enrolled and holds its link."""

    name = "await_agent"
    patience = timedelta(minutes=25)

    async def run(self, context: StepContext) -> Outcome:
        """Look whether it is there; the old one's certificates are revoked."""
        async with context.environment.database.system() as session:
            agent = (await session.execute(_LINKED, {"id": context.subject_id})).one()
        if not agent.enrolled:
            return Wait("the rebuilt server's agent has not enrolled yet")
        if not agent.linked:
            return Wait("the rebuilt server's agent has not connected yet")
        return Done(
            {"agent_version": agent.agent_version}, lambda session: forget_join_tokens(session, context.subject_id)
        )


class SendMailBack(NothingToUndo):
    """Carry the archive to the new system."""

    name = "send_mail_back"
    patience = _LONGEST_SEND
    ceiling = _LONGEST_SEND

    async def run(self, context: StepContext) -> Outcome:
        """Send every block; to send one twice changes nothing."""
        _, packed = await load_packed(context)
        return await _send(context, packed) or Done({"bytes": packed.size})


async def _send(context: StepContext, packed: PackedMail) -> Wait | None:
    """Send every block; return why that has to wait, if it has."""
    try:
        await send_back(context, packed)
    except NotCarried as error:
        return Wait(str(error), _AGAIN_SECONDS)
    return None


class PutMailBack(NothingToUndo):
    """Have the mail put into its place, whole, and only then let the server be a mail server."""

    name = "unpack_mail"
    patience = timedelta(hours=1)
    ceiling = _LONGEST_SEND + 3 * _UNPACK_LIFE

    async def run(self, context: StepContext) -> Outcome:
        """Unpack; the server compares each file with what was packed.

        When it refuses, it may not have all that was sent, and is sent it once more.
        """
        rebuild, packed = await load_packed(context)
        step = KeepMail(unpack=UnpackMail(key=rebuild.key, **packed.model_dump()))
        told = await ask(context, step, _UNPACK_LIFE)
        if told.state == "refused":
            if (waits := await _send(context, packed)) is not None:
                return waits
            told = await ask(context, step, _UNPACK_LIFE)
        if told.state == "refused":
            return Failed(f"its mail cannot be brought back: {told.detail}")
        if told.state != "done":
            return Wait(f"its mail is not back yet: {told.detail}", _AGAIN_SECONDS)

        async def release(session: AsyncSession) -> Result:
            await hold_configuration(session, context.run.id, held=False)
            return await request_configuration(session, context.subject_id)

        return Done({"files": packed.files, "tree_sha256": packed.tree_sha256}, release)


class UseAgain(NothingToUndo):
    """Let it have sends again, unless it was drained before; forget the copy of its mail."""

    name = "use_again"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """Write it together with the end of the run."""
        return Done(apply=lambda session: end_rebuild(session, context.run.id, context.subject_id))
