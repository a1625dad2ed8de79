import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.configuration import root_half
from agent.configuration.configurator import Configurator
from agent.configuration.drift import DriftWatch
from agent.uplink.latest import Latest
from mailstack.apply.converge import converge
from mailstack.spec import MailServerSpec
from protos.agent.v1.configuration_pb2 import ConfigurationResult, DesiredState
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest
from tests.fakes.host import FakeHost
from tests.golden.spec import SPEC
from tests.unit.agent.configuration.wire_form import wire_form

MAIN_CF = "/etc/postfix/main.cf"
USERS = "/etc/dovecot/users"


def _passes(_spec: MailServerSpec, _certificate: bytes) -> str:
    return "mail flows"


class Bench:
    """Both halves of an agent on one server; the watch looks only when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.host = FakeHost()
        self.results: list[ConfigurationResult] = []
        self.desired: Latest[DesiredState] = Latest()
        self.path = folder / "configure.sock"
        self.configurator = Configurator(
            self.desired, self._sent, folder, self.path, release="release-1", retry_seconds=0.01
        )
        self.watch = DriftWatch(self.configurator, self.path)

    def answer(self, request: RootRequest) -> RootAnswer:
        if request.HasField("desired_state"):
            result = root_half.apply(request.desired_state, lambda spec: converge(spec, self.host, _passes))
            return RootAnswer(configuration_result=result)
        return root_half.answer(request, self.host)

    async def apply(self, version: int, *, only_show: bool = False) -> None:
        self.desired.set(DesiredState(version=version, server=wire_form(SPEC), only_show_drift=only_show))
        async with asyncio.timeout(5):
            while self.configurator.applied_version != version:
                await self.configurator.applied.changed()

    def edit(self, path: str, words: bytes) -> None:
        self.host.files[path] = replace(self.host.files[path], content=self.host.files[path].content + words)

    def _sent(self, message: AgentMessage) -> None:
        self.results.append(message.configuration_result)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(bench.path))
        listening.listen()
        thread = threading.Thread(target=root_half.serve, args=(listening, bench.answer, 0.5))
        thread.start()
        task = asyncio.create_task(bench.configurator.run())
        yield bench
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(thread.join, 10)


async def test_before_anything_is_applied_nothing_is_looked_at(bench: Bench) -> None:
    await bench.watch.look()
    assert bench.watch.seen is None


async def test_files_as_they_were_applied_are_no_drift(bench: Bench) -> None:
    await bench.apply(1)
    await bench.watch.look()
    assert bench.watch.seen is not None
    assert (list(bench.watch.seen.paths), bench.watch.seen.mended_at_ms) == ([], 0)


async def test_what_somebody_changed_is_put_right_and_told_by_its_path(bench: Bench) -> None:
    await bench.apply(1)
    before = dict(bench.host.files)
    bench.edit(MAIN_CF, b"mynetworks = 0.0.0.0/0\n")
    bench.host.files[USERS] = replace(bench.host.files[USERS], mode=0o644)
    del bench.host.files["/etc/dovecot/dovecot.conf"]
    bench.host.told.clear()

    await bench.watch.look()

    assert bench.host.files == before
    assert bench.watch.seen is not None
    assert list(bench.watch.seen.paths) == []
    assert list(bench.watch.seen.mended_paths) == ["/etc/dovecot/dovecot.conf", USERS, MAIN_CF]
    assert bench.watch.seen.mended_at_ms == bench.watch.seen.looked_at_ms
    assert any("postfix" in told for told in bench.host.told)
    assert [(r.version, r.outcome) for r in bench.results] == [(1, ConfigurationResult.OUTCOME_APPLIED)] * 2
    assert b"mynetworks" not in bench.watch.seen.SerializeToString()
    await bench.watch.look()
    assert list(bench.watch.seen.mended_paths) == ["/etc/dovecot/dovecot.conf", USERS, MAIN_CF]


async def test_where_it_is_only_to_be_shown_it_stays_until_a_newer_state_is_applied(bench: Bench) -> None:
    await bench.apply(1, only_show=True)
    bench.edit(MAIN_CF, b"# by hand\n")

    await bench.watch.look()

    assert bench.watch.seen is not None
    assert (list(bench.watch.seen.paths), list(bench.watch.seen.mended_paths)) == ([MAIN_CF], [])
    assert bench.host.files[MAIN_CF].content.endswith(b"# by hand\n")
    await bench.apply(2)
    await bench.watch.look()
    assert list(bench.watch.seen.paths) == []


async def test_what_cannot_be_put_right_goes_on_being_shown(bench: Bench) -> None:
    await bench.apply(1)
    bench.edit(MAIN_CF, b"# by hand\n")
    bench.host.complaints["postfix"] = "postfix: fatal: no"

    await bench.watch.look()

    assert bench.watch.seen is not None
    assert (list(bench.watch.seen.paths), list(bench.watch.seen.mended_paths)) == ([MAIN_CF], [])
    assert bench.results[-1].outcome == ConfigurationResult.OUTCOME_REFUSED
