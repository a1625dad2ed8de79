"""Before a server is rebuilt: empty it, stop it, copy its mail away, and see that the copy is whole.

Whatever does not succeed here is called off: the steps are undone, the mail server runs again, and the run says why.
"""

from datetime import timedelta

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.desired import raise_desired_version
from control_plane.pipelines.step import Done, Failed, NothingToUndo, Outcome, Wait
from control_plane.providers.base import Capability, RebuildsServers
from control_plane.provisioning.draining import DrainProgress, drain_progress
from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.kept_mail import NotCarried, ask, fetch, is_whole
from control_plane.provisioning.rebuilding import (
    LONGEST_COPY,
    MOST_MAIL,
    PackedMail,
    Rebuild,
    begin,
    cannot_rebuild,
    end_rebuild,
    hold_configuration,
    load_rebuild,
    record_packed,
)
from control_plane.provisioning.servers import load_server, provider_of
from control_plane.provisioning.steps.revoke_agent import end_identity
from protos.agent.v1.commands_pb2 import CheckPackedMail, DiscardPackedMail, KeepMail, PackMail

_PACK_LIFE = timedelta(minutes=10)
_CHECK_LIFE = timedelta(minutes=5)
_DISCARD_LIFE = timedelta(minutes=2)
#: Longer than anything that these steps call off by themselves.
_DAY = timedelta(days=1)
_SOON_SECONDS = 0.5
_LATER_SECONDS = 5.0
_SOON = timedelta(seconds=30)


class HoldForRebuild:
    """Give the server no new sends. Its undo, the last one, uses it again and forgets what was copied."""

    name = "hold"
    patience = timedelta(minutes=5)

    async def run(self, context: StepContext) -> Outcome:
        """See that the provider can do it, and write the pause together with the step."""
        server = await load_server(context)
        provider = provider_of(context, server)
        if (
            provider is None
            or Capability.REBUILD not in provider.capabilities
            or not isinstance(provider, RebuildsServers)
        ):
            return Failed(cannot_rebuild(server.provider))
        sealer = context.environment.sealer
        return Done(apply=lambda session: begin(session, sealer, context.tenant_id, context.run.id, context.subject_id))

    async def undo(self, context: StepContext) -> Outcome:
        """Use the server again."""

        async def use_again(session: AsyncSession) -> None:
            await end_rebuild(session, context.run.id, context.subject_id)
            await raise_desired_version(session, context.subject_id)

        return Done(apply=use_again)


class EmptyServer(NothingToUndo):
    """Wait until nothing is leased to it and nothing is in its Postfix; for `drain_seconds` at most."""

    name = "empty"
    patience = timedelta(days=3650)

    async def run(self, context: StepContext) -> Outcome:
        """Look what is left."""
        async with context.environment.database.system() as session:
            progress = await drain_progress(session, context.subject_id)
        rebuild = await _load(context)
        if not (left := _left(progress)):
            return Done()
        reason = f"the server still has {', '.join(left)}"
        if rebuild.begun_for > timedelta(seconds=context.environment.settings.drain_seconds):
            return Failed(f"{reason}; it was not rebuilt")
        return Wait(reason, _SOON_SECONDS if rebuild.begun_for < _SOON else _LATER_SECONDS)


class PackAway:
    """Have the server stop, see that its queue is empty, and pack its mail; it runs on unless that is done."""

    name = "pack_mail"
    patience = _DAY

    async def run(self, context: StepContext) -> Outcome:
        """Ask for it once more as long as something still comes in between."""
        rebuild = await _load(context)
        told = await ask(context, KeepMail(pack=PackMail(key=rebuild.key, most_size=MOST_MAIL)), _PACK_LIFE)
        if told.state == "refused":
            return Failed(f"its mail cannot be kept, and it was not rebuilt: {told.detail}")
        if told.state != "done":
            return _wait_or_give_up(context, rebuild, f"its mail is not packed yet: {told.detail}")
        try:
            packed = PackedMail.model_validate_json(told.output or "")
        except ValidationError:
            return Failed("the server did not say what it packed, and was not rebuilt")
        result = {"files": packed.files, "bytes": packed.tree_size}
        return Done(result, lambda session: record_packed(session, context.run.id, packed))

    async def undo(self, context: StepContext) -> Outcome:
        """Have the mail server run again."""
        told = await ask(context, KeepMail(discard=DiscardPackedMail()), _DISCARD_LIFE)
        # Who does not know how to has not stopped anything.
        if told.state in {"done", "refused"}:
            return Done()
        return Wait(f"the mail server is not known to run again: {told.detail}", _LATER_SECONDS)


class FetchMail(NothingToUndo):
    """Copy the archive here; what is here already is not fetched again."""

    name = "fetch_mail"
    patience = _DAY
    #: The mail server stands still meanwhile.
    ceiling = LONGEST_COPY

    async def run(self, context: StepContext) -> Outcome:
        """Fetch what is missing, and compare the whole."""
        rebuild, packed = await load_packed(context)
        try:
            await fetch(context, packed)
        except NotCarried as error:
            return _until_too_long(rebuild, str(error))
        if not await is_whole(context, packed):
            return _until_too_long(rebuild, "the copy of its mail is not what was packed")
        return Done({"bytes": packed.size, "blocks": packed.blocks})


class CutOff(NothingToUndo):
    """The last look at the old system: nothing may have changed since it was packed. From here on it is nobody."""

    name = "cut_off"
    patience = _DAY

    async def run(self, context: StepContext) -> Outcome:
        """Compare, and take its agent the right to speak together with the step."""
        rebuild, packed = await load_packed(context)
        told = await ask(context, KeepMail(check=CheckPackedMail(tree_sha256=packed.tree_sha256)), _CHECK_LIFE)
        if told.state == "refused":
            return Failed(f"it was not rebuilt: {told.detail}")
        if told.state != "done":
            return _until_too_long(rebuild, f"the server does not say whether its mail changed: {told.detail}")

        async def cut_off(session: AsyncSession) -> None:
            await hold_configuration(session, context.run.id, held=True)
            await end_identity(session, context.subject_id)

        return Done(apply=cut_off)


async def load_packed(context: StepContext) -> tuple[Rebuild, PackedMail]:
    """Return the rebuild of the run, and what was packed for it."""
    rebuild = await _load(context)
    if rebuild.packed is None:
        raise LookupError("nothing was packed")
    return rebuild, rebuild.packed


async def _load(context: StepContext) -> Rebuild:
    async with context.environment.database.system() as session:
        return await load_rebuild(session, context.environment.sealer, context.run.id)


def _left(progress: DrainProgress) -> list[str]:
    counts = (
        (progress.queued, "sends leased to it"),
        (progress.relayed, "sends in its Postfix"),
        (progress.postfix_queue or 0, "messages in Postfix's queue"),
    )
    return [f"{count} {what}" for count, what in counts if count]


def _wait_or_give_up(context: StepContext, rebuild: Rebuild, reason: str) -> Outcome:
    longest = timedelta(seconds=context.environment.settings.drain_seconds) + LONGEST_COPY
    return Failed(f"{reason}; it was not rebuilt") if rebuild.begun_for > longest else Wait(reason, _LATER_SECONDS)


def _until_too_long(rebuild: Rebuild, reason: str) -> Outcome:
    """Wait, but not with a mail server that stands still."""
    if rebuild.packed_for is not None and rebuild.packed_for > LONGEST_COPY:
        return Failed(f"{reason}; it was not rebuilt")
    return Wait(reason, _LATER_SECONDS)
