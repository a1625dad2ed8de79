"""Who comes between what a claim has read and the rows that it then takes, step by step.

A gate stands in the middle of the claim: a policy, of the test's own database alone, on a table that the claim reads
after its snapshot was taken and before it locks anything. So the other always acts at the same place, and each rule
that a claim keeps is shown to matter by a claim that lacks it.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy import text

from control_plane.embedded.postgres import OWNER
from control_plane.messages.cancel import cancel_send, cancel_waiting_sends
from control_plane.queuer import statements
from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.pauses import Held, Subject, pause
from control_plane.queuer.statements import claim, reclaim
from control_plane.queuer.sweep import Sweep
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server, states_of

_GATE = 4_711
_MAKE_GATE = f"""
CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('application_name') = 'gated' THEN
        PERFORM pg_advisory_xact_lock_shared({_GATE});
    END IF;
    RETURN true;
END
$$;
CREATE POLICY gate ON tenants AS RESTRICTIVE TO penguin_system USING (gate());
"""
_AT_THE_GATE = text(
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND l.objid = :gate AND NOT l.granted AND d.datname = current_database()"
)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


@dataclass(frozen=True, slots=True)
class Parties:
    """Who meets: a tenant's API, an undisturbed queuer, and one whose claims stop at the gate while it is shut."""

    api: Database
    system: Database
    gated: Database
    owner_url: str
    inbox: SomeInbox


@pytest.fixture
async def parties(
    database: FreshDatabase, api_database: Database, system_database: Database, inbox: SomeInbox
) -> AsyncIterator[Parties]:
    owner_url = database.url(OWNER)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(_MAKE_GATE.encode())
    gated = Database(f"{database.url('penguin_system')}&application_name=gated")
    yield Parties(api_database, system_database, gated, owner_url, inbox)
    await gated.close()


@asynccontextmanager
async def shut_gate(parties: Parties) -> AsyncIterator[None]:
    async with await psycopg.AsyncConnection.connect(parties.owner_url, autocommit=True) as keeper:
        await keeper.execute(f"SELECT pg_advisory_lock({_GATE})".encode())
        yield


async def at_the_gate(database: Database) -> None:
    """Wait until somebody stands there."""
    async with asyncio.timeout(20):
        while True:
            async with database.system() as session:
                if await session.scalar(_AT_THE_GATE, {"gate": _GATE}):
                    return


Deed = Callable[[Parties, uuid.UUID], Awaitable[None]]


async def cancelled(parties: Parties, send_id: uuid.UUID) -> None:
    async with parties.api.tenant(parties.inbox.tenant.id) as session:
        await cancel_send(session, TenantScope(parties.inbox.tenant.id, EVERYTHING), send_id)


async def inbox_removed(parties: Parties, _: uuid.UUID) -> None:
    async with parties.api.tenant(parties.inbox.tenant.id) as session:
        await cancel_waiting_sends(
            session, TenantScope(parties.inbox.tenant.id, EVERYTHING), parties.inbox.id, "Removed."
        )


async def leased_by_another(parties: Parties, _: uuid.UUID) -> None:
    assert len(await claim(parties.system, {Line(parties.inbox.vps_id, 1): 5}, 300)) == 1


async def swept(parties: Parties, _: uuid.UUID) -> None:
    async with parties.system.system() as session:
        await session.execute(text("UPDATE inboxes SET status = 'deleting' WHERE id = :id"), {"id": parties.inbox.id})
    await Sweep(parties.system).look_at_all()


async def suppressed(parties: Parties, _: uuid.UUID) -> None:
    async with parties.system.system() as session:
        await session.execute(
            text("INSERT INTO suppressions (tenant_id, address, reason) VALUES (:tenant, 'b@walrus.example', 'asked')"),
            {"tenant": parties.inbox.tenant.id},
        )
    assert await claim(parties.system, {Line(parties.inbox.vps_id, 1): 5}, 300) == []


async def paused(parties: Parties, _: uuid.UUID) -> None:
    async with parties.system.system() as session:
        await pause(session, Held(Subject.INBOX, parties.inbox.tenant.id, inbox_id=parties.inbox.id))


#: What another session does, and the state in which it leaves the send.
DEEDS: Mapping[Deed, str] = {
    cancelled: "cancelled",
    inbox_removed: "cancelled",
    leased_by_another: "queued",
    swept: "cancelled",
    suppressed: "suppressed",
}


async def claim_around(parties: Parties, deed: Deed) -> tuple[uuid.UUID, list[LeasedSend]]:
    """Let a claim read, have the deed done and committed, and let the claim go on; return what it leased."""
    [send_id] = await make_sends(parties.system, parties.inbox, 1)
    async with shut_gate(parties):
        claiming = asyncio.create_task(claim(parties.gated, {Line(parties.inbox.vps_id, 1): 5}, 300))
        await at_the_gate(parties.system)
        await deed(parties, send_id)
    return send_id, await claiming


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_claim_leaves_what_another_session_ended_or_leased_since_it_looked(
    parties: Parties, deed: Deed
) -> None:
    send_id, leased = await claim_around(parties, deed)
    assert leased == []
    assert await states_of(parties.system, [send_id]) == [DEEDS[deed]]


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_claim_that_does_not_look_again_under_the_lock_is_found_out(
    parties: Parties, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_again = b"    WHERE m.state = 'accepted'\n    FOR NO KEY UPDATE OF m SKIP LOCKED"
    whole = statements._CLAIM
    assert whole.count(look_again) == 1
    monkeypatch.setattr(statements, "_CLAIM", whole.replace(look_again, b"    FOR NO KEY UPDATE OF m SKIP LOCKED"))
    _, leased = await claim_around(parties, deed)
    assert leased != [], "the mutant leases what was ended, or leases it twice"


async def test_a_claim_passes_by_what_another_session_is_changing(system_database: Database, inbox: SomeInbox) -> None:
    held, free = await make_sends(system_database, inbox, 2)
    async with system_database.system() as session:
        await session.execute(text("SELECT 1 FROM messages WHERE id = :id FOR NO KEY UPDATE"), {"id": held})
        assert [send.id for send in await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300)] == [free]


async def test_a_pause_holds_from_the_next_claim_on_and_what_was_read_before_it_is_leased_once(
    parties: Parties,
) -> None:
    send_id, leased = await claim_around(parties, paused)
    assert [send.id for send in leased] == [send_id]
    await make_sends(parties.system, parties.inbox, 1)
    assert await claim(parties.system, {Line(parties.inbox.vps_id, 1): 5}, 300) == []


async def test_a_lease_that_runs_is_not_taken_back_and_a_reclaim_that_ignores_it_is_found_out(
    system_database: Database, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await make_sends(system_database, inbox, 1)
    await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300)
    assert await reclaim(system_database, 30) == 0
    assert await states_of(system_database, ids) == ["queued"]

    whole = statements._RECLAIM
    assert whole.count(b"q.lease_deadline < now()") == 1
    mutant = whole.replace(b"q.lease_deadline < now()", b"q.lease_deadline > now()")
    monkeypatch.setattr(statements, "_RECLAIM", mutant)
    assert await reclaim(system_database, 30) == 1
    assert len(await claim(system_database, {Line(inbox.vps_id, 1): 5}, 300)) == 1
