"""Catches each mutant with few messages and faults aimed at the rule that it breaks.

A hunt puts the mutant in place and aims. The same faults without the mutant must break nothing: `penguin test faults`
aims both ways.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.faults.blows import agent_killed_at_work, kill_agent, paused_agent, paused_process
from tests.faults.checker import Facts, Verdict, check
from tests.faults.client import Client
from tests.faults.ground import Ground
from tests.faults.plan import targeted
from tests.faults.run import gather_facts, journal_size, until_final

_LOOK = 0.05
_PATIENCE = 60.0
#: Seconds that a send may stand still: more than a lease and what follows it.
_SETTLING = 45.0
#: Redis back, all is written again within 10 s.
_REFILLING = 10.0


@dataclass(slots=True)
class Hunt:
    """One hunt: what was sent, and where the sink's journal stood before."""

    ground: Ground
    run: str
    client: Client
    journal_from: int
    withdrawn: set[str] = field(default_factory=set)

    @classmethod
    def begin(cls, ground: Ground) -> "Hunt":
        """Begin with nothing sent."""
        run = f"hunt-{secrets.token_hex(4)}"
        return cls(ground, run, Client(ground.sender.client, ground.inbox_id, run), journal_size(ground))

    async def send(self, count: int) -> None:
        """Send messages that the sink takes."""
        await self.client.send_all(targeted(self.run, count), lambda _: None)

    async def until_taken(self, count: int) -> None:
        """Wait until the sink has so many copies."""
        await _until(lambda: len(self.ground.copies(self.journal_from)) >= count)

    async def until_state(self, state: str) -> None:
        """Wait until all that was sent is in this state."""
        query = "SELECT count(*) FROM messages WHERE starts_with(subject, %s) AND state <> %s"
        deadline = time.monotonic() + _PATIENCE
        while (await self.ground.rows(query, [f"{self.run} ", state]))[0][0]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all of {self.run} is {state}")
            await asyncio.sleep(_LOOK)

    async def verdict(self, patience: float) -> Verdict:
        """Wait until all is final, for so long, and judge."""
        await until_final(self.ground, self.run, patience)
        await asyncio.sleep(0.5)
        facts: Facts = await gather_facts(
            self.ground, self.run, self.client.accepted, self.journal_from, withdrawn=frozenset(self.withdrawn)
        )
        return check(facts)


# ---------------------------------------------------------------- aims


async def _api_dies_after_its_answer(hunt: Hunt) -> Verdict:
    await hunt.send(10)
    await restart(hunt.ground, "api")
    return await hunt.verdict(_SETTLING)


async def _redis_forgets_what_was_not_taken(hunt: Hunt) -> Verdict:
    async with paused_agent(hunt.ground):
        await hunt.send(30)
        await hunt.until_state("queued")
        await hunt.ground.flush_redis()
    return await hunt.verdict(_REFILLING)


async def _agent_dies_before_its_news_is_heard(hunt: Hunt) -> Verdict:
    async with paused_process(hunt.ground, "hub"):
        await hunt.send(20)
        await hunt.until_taken(20)
        await kill_agent(hunt.ground)
    return await hunt.verdict(_SETTLING)


async def _agent_dies_before_postfix_is_heard(hunt: Hunt) -> Verdict:
    # So much waits that all of the agent's sessions are busy when it is stopped.
    async with paused_agent(hunt.ground):
        await hunt.send(300)
        await hunt.until_state("queued")
        await agent_killed_at_work(hunt.ground)
    return await hunt.verdict(_SETTLING)


async def _lease_runs_out_while_the_agent_sleeps(hunt: Hunt) -> Verdict:
    ground = hunt.ground
    await ground.inside("systemctl", "stop", "postfix@-")
    await hunt.send(5)
    await hunt.until_state("queued")
    # Until they are in hand; nothing tells.
    await asyncio.sleep(2)
    async with paused_agent(ground):
        await _suppress(hunt)
        # The lease ran out in silence, and so it is not leased again and not known to be unsent.
        await hunt.until_state("uncertain")
        await ground.inside("systemctl", "start", "postfix@-")
    # Until the agent would have submitted them.
    await asyncio.sleep(5)
    return await hunt.verdict(_SETTLING)


async def _suppress(hunt: Hunt) -> None:
    for send_id, order in hunt.client.accepted.items():
        await hunt.ground.rows(
            "INSERT INTO suppressions (tenant_id, address, reason) SELECT tenant_id, %s, 'unsubscribed'"
            " FROM messages WHERE id = %s",
            [order.recipient, send_id],
        )
        hunt.withdrawn.add(send_id)


# ---------------------------------------------------------------- mutants


@asynccontextmanager
async def _mutant_agent(ground: Ground, name: str) -> AsyncIterator[None]:
    await ground.install_in_agent("faults_mutants", f"faults_mutants.become({name!r})")
    try:
        yield
    finally:
        await ground.remove_from_agent("faults_mutants")


@asynccontextmanager
async def _mutant_process(process: str, ground: Ground, name: str) -> AsyncIterator[None]:
    ground.mutant_file.write_text(name)
    await restart(ground, process)
    try:
        yield
    finally:
        ground.mutant_file.unlink()
        await restart(ground, process)


async def restart(ground: Ground, process: str) -> None:
    """Kill a process of the control plane and wait until it is there again."""
    before = ground.process(process)
    before.kill()
    await _until(lambda: ground.runs(process, other_than=before.pid))


#: What each mutant cannot survive.
AIMS: Mapping[str, Callable[[Hunt], Awaitable[Verdict]]] = {
    "acknowledge before commit": _api_dies_after_its_answer,
    "no journal": _agent_dies_before_its_news_is_heard,
    "resend on unknown": _agent_dies_before_postfix_is_heard,
    "redis as the only copy": _redis_forgets_what_was_not_taken,
    "lease ignored": _lease_runs_out_while_the_agent_sleeps,
}
#: Where the mutants live that do not live in the agent.
_PROCESS = {"acknowledge before commit": "api", "redis as the only copy": "queuer"}


async def hunt_down(ground: Ground, name: str) -> Verdict:
    """Put a mutant in place, aim at it, and return the verdict: it is caught when that does not hold."""
    process = _PROCESS.get(name)
    habitat = _mutant_process(process, ground, name) if process else _mutant_agent(ground, name)
    hunt = Hunt.begin(ground)
    async with habitat:
        verdict = await AIMS[name](hunt)
    # What the mutant left standing goes before others are counted.
    await until_final(ground, hunt.run, _SETTLING)
    return verdict


async def aim_at_nothing(ground: Ground, name: str) -> Verdict:
    """Aim as at a mutant, at the product as it is: nothing may break."""
    return await AIMS[name](Hunt.begin(ground))


async def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        await asyncio.sleep(_LOOK)
