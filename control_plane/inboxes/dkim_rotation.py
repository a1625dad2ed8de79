"""A domain's DKIM keys and what each is doing; at no moment is mail signed with a key that its zone does not have.

| state | in the zone | signs | becomes |
| --- | --- | --- | --- |
| `next` | being published | no | `active`, once every name server of the zone has it |
| `active` | yes | yes | `retiring`, when the next one takes its place |
| `retiring` | yes | no, as soon as each server has heard | `withdrawn`, when no queue can hold mail signed with it |
| `withdrawn` | being taken out | no | gone |

The steps that take a domain through this are in provisioning/steps/rotate_dkim.py.
"""

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.inboxes.domains import NewDkimKey, generate_dkim_key
from control_plane.pipelines.runs import start_run
from control_plane.sealing import Seals

ROTATION_KIND = "domain.rotate_dkim"

#: How long mail that was signed may still be on its way: Postfix keeps it for two days (`maximal_queue_lifetime`), and
#: a receiver that defers or forwards it may look at the signature later than that.
QUEUE_LIFE = dt.timedelta(days=3)

# Two that ask at once get the same run.
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('rotate:' || CAST(:domain AS text), 0))")
_HAS_INBOXES = text(
    "SELECT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = d.tenant_id AND i.domain_id = d.id)"
    " FROM domains d WHERE d.tenant_id = :tenant AND d.id = :domain AND d.deleted_at IS NULL"
)
_OPEN = text(
    "SELECT id FROM pipeline_runs WHERE tenant_id = :tenant AND subject_id = :domain AND kind = :kind"
    " AND state IN ('waiting', 'running', 'needs_person', 'undoing') LIMIT 1"
)
_KEYS = text("SELECT id, selector, public_key, state, retired_at FROM dkim_keys WHERE domain_id = :domain")
_INSERT = text(
    "INSERT INTO dkim_keys (id, tenant_id, domain_id, selector, private_key_sealed, public_key, active, state)"
    " VALUES (:id, :tenant, :domain, :selector, :sealed, :public_key, false, 'next')"
    " ON CONFLICT DO NOTHING"
)
# Two statements: one key signs at any moment, and a unique index holds it to that.
_RETIRE = text(
    "UPDATE dkim_keys SET state = 'retiring', active = false WHERE domain_id = :domain AND state = 'active'"
    " AND EXISTS (SELECT FROM dkim_keys n WHERE n.domain_id = :domain AND n.state = 'next')"
)
_ACTIVATE = text(
    "UPDATE dkim_keys SET state = 'active', active = true, activated_at = :now"
    " WHERE domain_id = :domain AND state = 'next'"
)
_NOTE_RETIRED = text(
    "UPDATE dkim_keys SET retired_at = :now WHERE domain_id = :domain AND state = 'retiring' AND retired_at IS NULL"
)
_WITHDRAW = text(
    "UPDATE dkim_keys SET state = 'withdrawn'"
    " WHERE domain_id = :domain AND state = 'retiring' AND retired_at <= :before"
)
_FORGET = text("DELETE FROM dkim_keys WHERE domain_id = :domain AND state = 'withdrawn'")
_DUE = text(
    "SELECT d.tenant_id, d.id FROM domains d JOIN dkim_keys k ON k.domain_id = d.id AND k.state = 'active'"
    " WHERE k.activated_at <= :before AND EXISTS (SELECT FROM inboxes i WHERE i.domain_id = d.id"
    "  AND i.status = 'ready') AND NOT EXISTS (SELECT FROM pipeline_runs r WHERE r.subject_id = d.id"
    "  AND r.kind = :kind AND r.state IN ('waiting', 'running', 'needs_person', 'undoing')) ORDER BY k.activated_at"
)


@dataclass(frozen=True, slots=True)
class KeyInPlace:
    """One key of a domain, without its private half."""

    id: uuid.UUID
    selector: str
    public_key: str
    state: str
    retired_at: dt.datetime | None


async def request_rotation(session: AsyncSession, tenant_id: uuid.UUID, domain_id: uuid.UUID) -> uuid.UUID:
    """Return the id of the run that rotates the domain's key, begun now or before.

    Raises `NotFound`, and `Conflict` for a domain without inboxes, which signs nothing.
    """
    of = {"tenant": tenant_id, "domain": domain_id, "kind": ROTATION_KIND}
    await session.execute(_ONE_AT_A_TIME, {"domain": domain_id})
    has_inboxes: bool | None = await session.scalar(_HAS_INBOXES, of)
    if has_inboxes is None:
        raise NotFound("There is no such domain.")
    if not has_inboxes:
        raise Conflict("The domain has no inboxes; delete it and add it again for another key.")
    run_id: uuid.UUID | None = await session.scalar(_OPEN, of)
    return run_id or await start_run(session, tenant_id, ROTATION_KIND, domain_id)


async def domains_due(session: AsyncSession, before: dt.datetime) -> list[tuple[uuid.UUID, uuid.UUID]]:
    """Return tenant and domain wherever the active key has signed since before that moment."""
    return [tuple(row) for row in await session.execute(_DUE, {"before": before, "kind": ROTATION_KIND})]


async def keys_of(session: AsyncSession, domain_id: uuid.UUID) -> list[KeyInPlace]:
    """Return all keys of a domain."""
    return [KeyInPlace(*row) for row in await session.execute(_KEYS, {"domain": domain_id})]


async def make_next_key(keys: list[KeyInPlace], sealer: Seals) -> NewDkimKey:
    """Return a key with the first selector that none of `keys` has had; it is in no row yet."""
    numbers = [int(key.selector[2:]) for key in keys if key.selector[2:].isdigit()]
    return await asyncio.to_thread(generate_dkim_key, f"pm{max(numbers, default=0) + 1}", sealer)


async def insert_next_key(session: AsyncSession, tenant_id: uuid.UUID, domain_id: uuid.UUID, key: NewDkimKey) -> None:
    """Write a new key down; nothing happens when the domain has a next one."""
    row = {"id": key.id, "selector": key.selector, "sealed": key.private_key_sealed, "public_key": key.public_key}
    await session.execute(_INSERT, {**row, "tenant": tenant_id, "domain": domain_id})


async def switch_keys(session: AsyncSession, domain_id: uuid.UUID, now: dt.datetime) -> None:
    """Have the next key sign, and the one before not any more; nothing happens without a next one."""
    await session.execute(_RETIRE, {"domain": domain_id})
    await session.execute(_ACTIVATE, {"domain": domain_id, "now": now})


async def note_retired(session: AsyncSession, domain_id: uuid.UUID, now: dt.datetime) -> None:
    """Record that no server signs with the retiring key any more."""
    await session.execute(_NOTE_RETIRED, {"domain": domain_id, "now": now})


async def withdraw_keys(session: AsyncSession, domain_id: uuid.UUID, now: dt.datetime) -> None:
    """Have the keys taken out of the zone that nothing on its way is signed with."""
    await session.execute(_WITHDRAW, {"domain": domain_id, "before": now - QUEUE_LIFE})


async def forget_keys(session: AsyncSession, domain_id: uuid.UUID) -> None:
    """Delete the keys that are out of the zone."""
    await session.execute(_FORGET, {"domain": domain_id})
