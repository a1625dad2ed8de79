"""Adding up what the root half sees."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.configuration import wire
from agent.configuration.asking import look_for_ever
from agent.configuration.mail_look import MailLook
from protos.agent.v1.root_half_pb2 import LoginsSeen, LookAtMail, MailSeen, RootAnswer, RootRequest
from protos.agent.v1.telemetry_pb2 import Logins


class RootHalf:
    """Answers what a test puts into `sees`, one after the other."""

    def __init__(self) -> None:
        self.sees: list[MailSeen] = []
        self.asked: list[LookAtMail] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = wire.message_length(await reader.readexactly(wire.LENGTH.size))
        self.asked.append(RootRequest.FromString(await reader.readexactly(length)).look_at_mail)
        if self.sees:
            writer.write(wire.frame(RootAnswer(mail_seen=self.sees.pop(0)).SerializeToString()))
        writer.close()
        await writer.wait_closed()


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "configure.sock"


@pytest.fixture
async def root_half(socket: Path) -> AsyncIterator[RootHalf]:
    half = RootHalf()
    async with await asyncio.start_unix_server(half.connected, socket):
        yield half


async def test_log_ins_are_added_up_from_one_look_to_the_next(root_half: RootHalf, socket: Path) -> None:
    looking = MailLook(socket)
    assert (looking.logins, looking.corrupt) == (None, None)
    root_half.sees = [
        MailSeen(logins=LoginsSeen(succeeded=2, failed=1, until_us=77), corrupt=1),
        MailSeen(),
        MailSeen(logins=LoginsSeen(succeeded=3, until_us=99), corrupt=0),
    ]
    await looking.look()
    assert (looking.logins, looking.corrupt) == (Logins(succeeded=2, failed=1), 1)
    await looking.look()
    assert (looking.logins, looking.corrupt) == (Logins(succeeded=2, failed=1), None)
    await looking.look()
    assert (looking.logins, looking.corrupt) == (Logins(succeeded=5, failed=1), 0)
    # What could not be told was asked for again.
    assert [each.logins_since_us for each in root_half.asked[1:]] == [77, 77]


async def test_a_look_in_vain_is_told_and_the_next_one_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    failures, looked = [EOFError("gone")], asyncio.Event()

    async def look() -> None:
        if failures:
            raise failures.pop()
        looked.set()

    looking = asyncio.create_task(look_for_ever(look, every_seconds=0))
    async with asyncio.timeout(10):
        await looked.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert caplog.messages == ["the root half did not answer: EOFError('gone')"]
