"""What operators say about self-healing: what it may not do."""

import uuid
from collections.abc import Sequence

from sqlalchemy import delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import InvalidInput, NotFound
from control_plane.operators.acts import Act, Actor, record
from control_plane.operators.rule_files import RuleFiles
from db.models import HealingForbidden, VpsServer

_BY_THEMSELVES = (
    "{rule} cannot be forbidden: it only writes down that leases end, which they do at their deadline by themselves,"
    " or sends would wait for good for a server that is gone. Pause the server to have nothing more leased to it."
)


async def forbid(
    session: AsyncSession, actor: Actor, rules: RuleFiles, rule: str | None, vps_id: uuid.UUID | None, *, reason: str
) -> None:
    """Forbid a rule, or all, on a server, or on all, from now on; what stands by it is taken back at the next look.

    Raises `InvalidInput` for a rule that there is not or that only writes down what happens by itself, and `NotFound`
    for a server that there is not.
    """
    if rule is not None and rule not in rules.names_of_healing():
        raise InvalidInput("There is no such rule.", "/rule")
    if rule in rules.names_of_notes():
        raise InvalidInput(_BY_THEMSELVES.format(rule=rule), "/rule")
    if vps_id is not None and await session.scalar(select(VpsServer.id).where(VpsServer.id == vps_id)) is None:
        raise NotFound("There is no such server.")
    row = {"rule": rule, "of_vps_id": vps_id, "reason": reason, "created_by": actor.name}
    await session.execute(insert(HealingForbidden).values(row).on_conflict_do_nothing())
    await record(session, actor, Act.FORBID_HEALING, {"rule": rule, "vps_id": vps_id}, reason)


async def allow(session: AsyncSession, actor: Actor, rule: str | None, vps_id: uuid.UUID | None) -> None:
    """Take back what was forbidden in the same words. Raises `NotFound`."""
    gone = await session.execute(
        delete(HealingForbidden)
        .where(
            HealingForbidden.rule.is_not_distinct_from(rule), HealingForbidden.of_vps_id.is_not_distinct_from(vps_id)
        )
        .returning(HealingForbidden.id)
    )
    if gone.first() is None:
        raise NotFound("That is not forbidden.")
    await record(session, actor, Act.ALLOW_HEALING, {"rule": rule, "vps_id": vps_id})


async def forbidden(session: AsyncSession, vps_id: uuid.UUID | None = None) -> Sequence[HealingForbidden]:
    """Return what is forbidden, oldest first; of a server, what is so there, everywhere included."""
    query = select(HealingForbidden).order_by(HealingForbidden.created_at)
    if vps_id is not None:
        query = query.where(or_(HealingForbidden.of_vps_id == vps_id, HealingForbidden.of_vps_id.is_(None)))
    return (await session.scalars(query)).all()
