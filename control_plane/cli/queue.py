"""`queue`: how deep and how old it is, and what an operator may do about it: pause, resume, retry, drop."""

import asyncio
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import FAILED, Instance, Json, Reveal, print_json, say
from control_plane.cli.tables import print_table
from control_plane.clock import utc_now
from control_plane.operators import queue_control
from control_plane.operators.revealing import shows_addresses
from control_plane.operators.scopes import OperatorScope
from control_plane.queuer import dead_letters, pauses
from control_plane.queuer.depth import Depth, Standing, queue_depth, standing_still
from control_plane.queuer.keys import PRIORITIES
from control_plane.queuer.pauses import PauseInForce, Subject

queue_commands = typer.Typer(no_args_is_help=True, help="The queue: depth, pauses, dead letters.")

#: Seconds after which a send that is due and not leased is worth an explanation.
_STANDS_SECONDS = 30.0

SubjectArgument = Annotated[Subject, typer.Argument(help="What to hold back or let go.")]
Named = Annotated[str, typer.Argument(help="Its id; for a priority: high, normal or low.")]
Tenant = Annotated[uuid.UUID | None, typer.Option(help="Whose priority; all tenants' when left out.")]
Ids = Annotated[list[uuid.UUID], typer.Argument(help="Ids of sends.")]
Reason = Annotated[str | None, typer.Option(help="For people to read; kept with the act.")]


@queue_commands.command()
def show(as_json: Json = False, instance: Instance = "main") -> None:
    """Show depth and age by tenant, server and priority, what is paused, and why what is due is not leased."""
    depths, standing, in_force = asyncio.run(_load(instance))
    if as_json:
        print_json(
            {
                "depth": [_depth_fields(depth) for depth in depths],
                "standing": [_standing_fields(each) for each in standing],
                "pauses": [_pause_fields(each) for each in in_force],
            }
        )
        return
    if not depths:
        print("The queue is empty.")
    else:
        print_table([_depth_fields(depth) for depth in depths])
    for each in standing:
        why = each.why or "nothing is known to hold it; its stream may be full"
        print(f"inbox {each.inbox_id}, {PRIORITIES[each.priority]}, waits since {each.oldest}: {why}")
    for pause_in_force in in_force:
        print(f"paused: {_pause_fields(pause_in_force)}")


@queue_commands.command()
def pause(
    subject: SubjectArgument,
    name: Named,
    *,
    tenant: Tenant = None,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Lease no more sends of a server, an inbox, a tenant or a priority. What is leased goes on."""
    asyncio.run(_pause(instance, subject, name, tenant, reason))
    _done(f"the {subject} is paused", as_json=as_json, paused=name)


@queue_commands.command()
def resume(
    subject: SubjectArgument,
    name: Named,
    *,
    tenant: Tenant = None,
    reason: Reason = None,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Take an operator's pause back; what waits is leased at once."""
    asyncio.run(_resume(instance, subject, name, tenant, reason))
    _done(f"the {subject} is resumed", as_json=as_json, resumed=name)


@queue_commands.command()
def dead(
    *,
    after: Annotated[uuid.UUID | None, typer.Option(help="Only ids after this one.")] = None,
    reveal: Reveal = False,
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """List dead letters, a hundred at a time: sends that their servers took again and again and never told of."""
    letters = [asdict(letter) for letter in asyncio.run(_dead(instance, after, reveal=reveal))]
    if as_json:
        print_json(letters)
    elif letters:
        print_table(letters)
    else:
        print("There are no dead letters.")


@queue_commands.command()
def retry(ids: Ids, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """Let dead letters, or failed sends that Postfix never had, be leased again."""
    _report(ids, asyncio.run(_retry(instance, ids, reason)), "retried", as_json=as_json)


@queue_commands.command()
def drop(ids: Ids, reason: Reason = None, as_json: Json = False, instance: Instance = "main") -> None:
    """End dead letters: as uncertain, for their server never said what it did with them."""
    _report(ids, asyncio.run(_drop(instance, ids, reason)), "dropped", as_json=as_json)


async def _load(instance: str) -> tuple[Sequence[Depth], Sequence[Standing], Sequence[PauseInForce]]:
    async with system_session(instance) as session:
        standing = await standing_still(session, _STANDS_SECONDS)
        return await queue_depth(session), standing, await pauses.pauses_in_force(session)


async def _pause(instance: str, subject: Subject, name: str, tenant: uuid.UUID | None, reason: str | None) -> None:
    async with system_session(instance) as session:
        await queue_control.pause(session, this_user(), subject, name, tenant_id=tenant, reason=reason)


async def _resume(instance: str, subject: Subject, name: str, tenant: uuid.UUID | None, reason: str | None) -> None:
    async with system_session(instance) as session:
        await queue_control.resume(session, this_user(), subject, name, tenant_id=tenant, reason=reason)


async def _dead(instance: str, after: uuid.UUID | None, *, reveal: bool) -> Sequence[dead_letters.DeadLetter]:
    async with system_session(instance) as session:
        letters = await dead_letters.dead_letters(session, after)
        ids = [letter.id for letter in letters]
        shows = await shows_addresses(session, this_user(), frozenset(OperatorScope), ids, reveal=reveal)
        return [replace(letter, recipient=shows(letter.recipient)) for letter in letters]


async def _retry(instance: str, ids: Sequence[uuid.UUID], reason: str | None) -> set[uuid.UUID]:
    async with system_session(instance) as session:
        return await queue_control.retry(session, this_user(), ids, reason)


async def _drop(instance: str, ids: Sequence[uuid.UUID], reason: str | None) -> set[uuid.UUID]:
    async with system_session(instance) as session:
        return await queue_control.drop(session, this_user(), ids, reason)


def _depth_fields(depth: Depth) -> dict[str, Any]:
    fields = asdict(depth)
    return {
        **fields,
        "priority": PRIORITIES[depth.priority],
        "oldest_due_seconds": _age(fields.pop("oldest_due")),
        "oldest_lease_seconds": _age(fields.pop("oldest_lease")),
    }


def _standing_fields(standing: Standing) -> dict[str, Any]:
    return {**asdict(standing), "priority": PRIORITIES[standing.priority], "age_seconds": _age(standing.oldest)}


def _pause_fields(pause_in_force: PauseInForce) -> dict[str, Any]:
    held = pause_in_force.held
    return {
        "subject": held.subject.value,
        "tenant_id": held.tenant_id,
        "vps_id": held.vps_id,
        "inbox_id": held.inbox_id,
        "priority": None if held.priority is None else PRIORITIES[held.priority],
        "reason": pause_in_force.reason,
        "by_operator": pause_in_force.by_operator,
        "since": pause_in_force.created_at,
    }


def _age(moment: datetime | None) -> float | None:
    return None if moment is None else round((utc_now() - moment).total_seconds(), 1)


def _done(line: str, *, as_json: bool, **fields: str) -> None:
    if as_json:
        print_json(fields)
    else:
        say(line)


def _report(ids: Sequence[uuid.UUID], changed: set[uuid.UUID], what: str, *, as_json: bool) -> None:
    """Print what was changed; exit with 1 when something was not."""
    left = [send_id for send_id in ids if send_id not in changed]
    if as_json:
        print_json({what: sorted(changed), "left": left})
    else:
        say(f"{what} {len(changed)}")
        for send_id in left:
            say(f"{send_id} is not one that can be {what}")
    if left:
        sys.exit(FAILED)
