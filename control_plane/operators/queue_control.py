"""What operators do to the queue, each act recorded with it: REST and the command line both come through here."""

import uuid
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.operators.acts import Act, Actor, record
from control_plane.queuer import dead_letters, pauses
from control_plane.queuer.keys import PRIORITIES
from control_plane.queuer.pauses import Held, PauseInForce, Subject


async def pause(
    session: AsyncSession,
    actor: Actor,
    subject: Subject,
    name: str,
    *,
    tenant_id: uuid.UUID | None = None,
    reason: str | None = None,
) -> PauseInForce:
    """Hold a server, an inbox, a tenant or a priority back; what is held already stays so, and nothing is recorded.

    Raises `InvalidInput` and `NotFound` for what cannot be paused.
    """
    held = await pauses.held_by(session, subject, name, tenant_id)
    before = await pauses.pauses_in_force(session)
    in_force = await pauses.pause(session, held, reason, by_operator=True)
    if in_force.id not in {each.id for each in before}:
        await record(session, actor, Act.PAUSE, _named(held), reason)
    return in_force


async def resume(
    session: AsyncSession,
    actor: Actor,
    subject: Subject,
    name: str,
    *,
    tenant_id: uuid.UUID | None = None,
    reason: str | None = None,
) -> None:
    """Take an operator's pause back; raise `NotFound` when there is none."""
    held = await pauses.held_by(session, subject, name, tenant_id)
    await pauses.resume(session, held, by_operator=True)
    await record(session, actor, Act.RESUME, _named(held), reason)


async def resume_by_id(session: AsyncSession, actor: Actor, pause_id: uuid.UUID, reason: str | None = None) -> None:
    """Take an operator's pause back by its id; raise `NotFound` when there is none."""
    held = await pauses.resume_by_id(session, pause_id, by_operator=True)
    await record(session, actor, Act.RESUME, _named(held), reason)


async def retry(
    session: AsyncSession, actor: Actor, ids: Sequence[uuid.UUID], reason: str | None = None
) -> set[uuid.UUID]:
    """Let dead or failed sends be leased again, and return which could be."""
    return await _recorded(session, actor, Act.RETRY, await dead_letters.retry(session, ids), reason)


async def drop(
    session: AsyncSession, actor: Actor, ids: Sequence[uuid.UUID], reason: str | None = None
) -> set[uuid.UUID]:
    """End dead letters as uncertain, and return which were dead."""
    return await _recorded(session, actor, Act.DROP, await dead_letters.drop(session, ids), reason)


async def _recorded(
    session: AsyncSession, actor: Actor, act: Act, changed: set[uuid.UUID], reason: str | None
) -> set[uuid.UUID]:
    for send_id in sorted(changed):
        await record(session, actor, act, {"message_id": send_id}, reason)
    return changed


def _named(held: Held) -> dict[str, object]:
    return {
        "subject": held.subject.value,
        "tenant_id": held.tenant_id,
        "vps_id": held.vps_id,
        "inbox_id": held.inbox_id,
        "priority": None if held.priority is None else PRIORITIES[held.priority],
    }
