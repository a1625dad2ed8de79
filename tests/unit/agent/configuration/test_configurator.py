import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.configuration import configurator, wire
from agent.configuration.configurator import Configurator
from agent.identity.store import write_atomically
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import ConfigurationResult, DesiredState
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest

_APPLIED = ConfigurationResult.OUTCOME_APPLIED
_REFUSED = ConfigurationResult.OUTCOME_REFUSED


class FakeRootHalf:
    """Answers on a Unix socket as the root half does; `hold` keeps it busy, `refuse` names versions it refuses."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.asked: list[int] = []
        self.refuse: set[int] = set()
        self.hold = asyncio.Event()
        self.hold.set()
        self.busy = asyncio.Event()
        self.hang_up = False
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.socket)

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = wire.message_length(await reader.readexactly(wire.LENGTH.size))
        version = RootRequest.FromString(await reader.readexactly(length)).desired_state.version
        self.asked.append(version)
        self.busy.set()
        await self.hold.wait()
        if not self.hang_up:
            outcome = _REFUSED if version in self.refuse else _APPLIED
            result = ConfigurationResult(version=version, outcome=outcome)
            writer.write(wire.frame(RootAnswer(configuration_result=result).SerializeToString()))
        writer.close()


class Bench:
    """A configurator between a fake hub and a fake root half."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root_half = FakeRootHalf(folder / "configure.sock")
        self.desired: Latest[DesiredState] = Latest()
        self.results: asyncio.Queue[ConfigurationResult] = asyncio.Queue()
        self.configurator = self.another()

    def another(self, release: str = "release-1") -> Configurator:
        return Configurator(
            self.desired, self._sent, self.folder, self.root_half.socket, release=release, retry_seconds=0.01
        )

    @asynccontextmanager
    async def running(self, release: str = "release-1") -> AsyncIterator[None]:
        """Let a configurator of a release run on what was kept, linked anew."""
        self.desired = Latest()
        self.configurator = self.another(release)
        task = asyncio.create_task(self.configurator.run())
        yield
        task.cancel()
        await asyncio.wait([task])

    def want(self, version: int) -> None:
        self.desired.set(DesiredState(version=version))

    async def result(self) -> tuple[int, int]:
        async with asyncio.timeout(5):
            result = await self.results.get()
        return result.version, result.outcome

    def _sent(self, message: AgentMessage) -> None:
        self.results.put_nowait(message.configuration_result)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.root_half.start()
    async with bench.running():
        yield bench
        bench.root_half.hold.set()
    await bench.root_half.stop()


async def test_a_desired_state_is_applied_reported_and_kept_for_its_owner_only(bench: Bench) -> None:
    bench.want(1)

    assert await bench.result() == (1, _APPLIED)
    assert bench.configurator.applied_version == 1
    assert (bench.folder / "desired_state.pb").stat().st_mode & 0o777 == 0o600


async def test_after_a_restart_the_applied_state_is_known_before_the_link_is_up(bench: Bench) -> None:
    bench.want(4)
    await bench.result()

    restarted = bench.another()
    assert restarted.applied_version == 4
    assert restarted.applied.get() == DesiredState(version=4)


async def configured(folder: Path) -> Bench:
    """Return a bench whose first release has applied version 3, and has ended."""
    bench = Bench(folder)
    await bench.root_half.start()
    async with bench.running("release-1"):
        bench.want(3)
        await bench.result()
    return bench


async def test_another_release_has_what_is_applied_rendered_anew_when_it_starts(tmp_path: Path) -> None:
    bench = await configured(tmp_path)
    async with bench.running("release-2"):
        assert await bench.result() == (3, _APPLIED)
    async with bench.running("release-2"):
        bench.want(4)
        assert await bench.result() == (4, _APPLIED)
    assert bench.root_half.asked == [3, 3, 4]
    await bench.root_half.stop()


async def test_a_release_whose_rendering_is_refused_says_so_once_and_the_one_before_renders_again(
    tmp_path: Path,
) -> None:
    bench = await configured(tmp_path)
    bench.root_half.refuse = {3}
    async with bench.running("release-2"):
        assert await bench.result() == (3, _REFUSED)
    async with bench.running("release-2"):
        bench.root_half.refuse = {4}
        bench.want(4)
        assert await bench.result() == (4, _REFUSED)
    bench.root_half.refuse = set()
    async with bench.running("release-1"):
        assert await bench.result() == (3, _APPLIED)
    assert bench.root_half.asked == [3, 3, 4, 3]
    await bench.root_half.stop()


async def test_rendering_anew_waits_for_a_root_half_that_does_not_answer(tmp_path: Path) -> None:
    bench = await configured(tmp_path)
    bench.root_half.hang_up = True
    bench.root_half.busy.clear()
    async with bench.running("release-2"):
        await bench.root_half.busy.wait()
        bench.root_half.hang_up = False
        assert await bench.result() == (3, _APPLIED)
    await bench.root_half.stop()


async def test_a_disk_that_is_full_after_an_upgrade_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = await configured(tmp_path)
    faults = [OSError(errno.ENOSPC, "No space left on device")]

    def write_when_there_is_space(path: Path, content: bytes, mode: int) -> None:
        if faults:
            raise faults.pop()
        write_atomically(path, content, mode)

    monkeypatch.setattr(configurator, "write_atomically", write_when_there_is_space)
    async with bench.running("release-2"):
        assert [await bench.result(), await bench.result()] == [(3, _APPLIED)] * 2
        bench.want(4)
        assert await bench.result() == (4, _APPLIED)
    await bench.root_half.stop()


async def test_a_kept_state_that_cannot_be_read_counts_as_none(bench: Bench) -> None:
    (bench.folder / "desired_state.pb").write_bytes(b"\xff\xff half")

    assert bench.another().applied_version == 0


async def test_only_the_newest_of_those_that_came_meanwhile_is_applied(bench: Bench) -> None:
    bench.root_half.hold.clear()
    bench.want(1)
    await bench.root_half.busy.wait()
    for version in (2, 3, 4):
        bench.want(version)
    bench.root_half.hold.set()

    assert [await bench.result(), await bench.result()] == [(1, _APPLIED), (4, _APPLIED)]
    assert bench.root_half.asked == [1, 4]


async def test_a_refused_state_is_reported_once_and_the_one_before_stays(bench: Bench) -> None:
    bench.root_half.refuse = {2}
    bench.want(1)
    await bench.result()
    bench.want(2)

    assert await bench.result() == (2, _REFUSED)
    assert bench.configurator.applied_version == 1
    bench.want(3)
    assert await bench.result() == (3, _APPLIED)
    assert bench.root_half.asked == [1, 2, 3]


async def test_a_version_that_is_not_newer_is_answered_without_the_root_half(bench: Bench) -> None:
    bench.want(5)
    await bench.result()
    bench.want(5)

    assert await bench.result() == (5, _APPLIED)
    assert bench.root_half.asked == [5]


async def test_a_root_half_that_dies_is_asked_again(bench: Bench) -> None:
    bench.root_half.hang_up = True
    bench.want(1)
    await bench.root_half.busy.wait()
    bench.root_half.busy.clear()
    await bench.root_half.busy.wait()
    bench.root_half.hang_up = False

    assert await bench.result() == (1, _APPLIED)


async def test_a_root_half_that_is_not_there_yet_is_waited_for(bench: Bench) -> None:
    await bench.root_half.stop()
    bench.root_half.socket.unlink(missing_ok=True)
    bench.want(1)
    await asyncio.sleep(0)
    await bench.root_half.start()

    assert await bench.result() == (1, _APPLIED)
