"""One process full of agents: `python -m tests.simulation.agents FOLDER FIRST COUNT`.

Each is the product's own `Uplink`: its identity on the disk, its connection, its back-off. What is left out is the mail
server behind it. Reads orders, one JSON object a line, from standard input, answers each with a line, and ends with it.
"""

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from agent.settings import Settings
from agent.uplink.events import EventDrain
from agent.uplink.link import Uplink
from agent.uplink.outbound import Outbound
from protos.agent.v1.configuration_pb2 import ConfigurationResult
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from protos.agent.v1.link_pb2 import AgentMessage, Welcome
from tests.simulation.fleet import agent_settings
from tests.simulation.orders import Answers, serve_orders
from tests.simulation.sample import health_report


class NoEvents:
    """A spool without events: no mail is sent here."""

    def __init__(self) -> None:
        self.events_added = asyncio.Event()

    async def unconfirmed(self, limit: int) -> list[DeliveryEvent]:
        return []

    async def confirm(self, event_ids: Iterable[bytes], closed_send_ids: Iterable[bytes]) -> None:
        return None


class Tally:
    """What all agents of this process did."""

    def __init__(self) -> None:
        self.reporting = False
        self.sent = 0
        self.configured = 0
        #: Moments, by the machine's monotonic clock, which all processes share.
        self.attempts: list[float] = []
        self.welcomes: list[float] = []


class CountedOutbound(Outbound):
    """Counts the reports that go onto the stream."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    async def take(self) -> AgentMessage:
        message = await super().take()
        if message.WhichOneof("body") == "health":
            self._tally.sent += 1
        return message


class SimulatedAgent(Uplink):
    """An uplink that is watched, with a mail server that does whatever it is told."""

    def __init__(self, settings: Settings, spool: NoEvents, tally: Tally) -> None:
        super().__init__(settings, spool, "simulated")
        self._outbound = CountedOutbound(tally)
        self._drain = EventDrain(spool, self._outbound.put)
        self._tally = tally
        self._applied = 0

    async def live(self, wait: float, place: float) -> None:
        """Connect after so many seconds, and then for ever: apply what comes, and report.

        `place`, 0 to 1, is where in the interval its reports lie.
        """
        await asyncio.sleep(wait)
        await asyncio.gather(self.run(lambda: self._applied), self._report(place), self._configure())

    async def _connect(self, applied_version: object) -> float:
        self._tally.attempts.append(time.monotonic())
        return await super()._connect(applied_version)  # type: ignore[arg-type] # as it came

    def _welcomed(self, welcome: Welcome) -> None:
        super()._welcomed(welcome)
        self._tally.welcomes.append(time.monotonic())

    async def _report(self, place: float) -> None:
        count, interval = 0, self.report_interval
        while True:
            # By the clock: what is late once does not move those after it.
            await asyncio.sleep(interval - (time.monotonic() - place * interval) % interval)
            if self._tally.reporting and self.connected:
                count += 1
                self.send(AgentMessage(health=health_report("mx.penguin.example", count)))

    async def _configure(self) -> None:
        while True:
            state = self.desired_state.get()
            if state is None or state.version <= self._applied:
                state = await self.desired_state.changed()
            self._applied = state.version
            self._tally.configured += 1
            outcome = ConfigurationResult.OUTCOME_APPLIED
            result = ConfigurationResult(version=state.version, outcome=outcome, detail="simulated", seconds=0.1)
            self.send(AgentMessage(configuration_result=result))


class Crowd(Answers):
    """Does what the orders say."""

    def __init__(self, folder: Path, numbers: range) -> None:
        self._tally = Tally()
        spool = NoEvents()
        self._agents = [SimulatedAgent(agent_settings(folder, number), spool, self._tally) for number in numbers]
        self._lives: list[asyncio.Task[None]] = []

    def connect(self, over: float) -> dict[str, object]:
        """Have all connect, spread over so many seconds."""
        self._lives = [
            asyncio.create_task(agent.live(over * number / len(self._agents), number / len(self._agents)))
            for number, agent in enumerate(self._agents)
        ]
        return {}

    def report(self, over: float) -> dict[str, object]:
        """Have those that are connected report, or no more for 0."""
        self._tally.reporting = over > 0
        return {}

    def tell(self) -> dict[str, object]:
        """Say how it stands; moments are told once."""
        tally = self._tally
        told: dict[str, object] = {
            "connected": sum(agent.connected for agent in self._agents),
            "sent": tally.sent,
            "configured": tally.configured,
            "attempts": tally.attempts,
            "welcomes": tally.welcomes,
            "ended": sum(life.done() for life in self._lives),
        }
        tally.attempts, tally.welcomes = [], []
        return told


def main() -> None:
    folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # What each says of a hub that is gone is not news here.
    logging.disable(logging.CRITICAL)
    asyncio.run(_run(folder, range(first, first + count)))


async def _run(folder: Path, numbers: range) -> None:
    crowd = Crowd(folder, numbers)
    # A server has one agent: to look for garbage among thousands is a cost that only exists here.
    gc.freeze()
    gc.disable()
    await serve_orders(crowd)
    # Thousands of streams are not ended one by one.
    os._exit(0)


if __name__ == "__main__":
    main()
