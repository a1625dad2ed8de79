"""Asking Postfix what lies in its queue."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.command import LINE_LIMIT
from agent.metrics.postfix_queue import queue_id_of, queued_among, read_postfix_queue, with_corrupt
from protos.agent.v1.telemetry_pb2 import PostfixQueue

#: As Postfix 3.7 writes it.
LINE = (
    b'{"queue_name": "deferred", "queue_id": "4Y2kRz6QZ1z9vKq", "arrival_time": 1799999400, "message_size": 2345, '
    b'"forced_expire": false, "sender": "a@one.example", "recipients": [{"address": "b@two.example", '
    b'"delay_reason": "connect to mx.two.example[192.0.2.1]:25: Connection timed out"}]}\n'
)


def entry(queue: str, *addresses: str) -> bytes:
    recipients = [{"address": address} for address in addresses]
    told = {"queue_name": queue, "queue_id": "x", "arrival_time": 1, "recipients": recipients}
    return json.dumps(told).encode() + b"\n"


def test_a_line_tells_its_queue_id() -> None:
    assert queue_id_of(LINE) == "4Y2kRz6QZ1z9vKq"


@given(st.binary())
def test_a_line_that_is_cut_or_strange_tells_none(line: bytes) -> None:
    assert queue_id_of(line) == ""
    assert queue_id_of(LINE[:40]) == ""
    assert queue_id_of(b'{"queue_id": 7}') == ""


@pytest.fixture
def listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], int]:
    """Say what `postqueue -j` says."""
    said = tmp_path / "listing"
    program = tmp_path / "postqueue"
    program.write_text(f"#!{sys.executable}\nimport sys\n\nsys.stdout.write(open({str(said)!r}).read())\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return said.write_bytes


async def test_a_message_with_thousands_of_recipients_hides_no_other(listing: Callable[[bytes], int]) -> None:
    """Else nothing were known of the queue, and sends that lie in it would be called uncertain."""
    many = entry("deferred", *(f"somebody{number}@two.example" for number in range(LINE_LIMIT // 10)))
    listing(LINE + many + entry("active"))
    counted = await read_postfix_queue()
    assert counted is not None
    assert (counted[0].deferred, counted[0].active) == (1, 1)
    assert await queued_among({"4Y2kRz6QZ1z9vKq", "x", "not there"}) == frozenset({"4Y2kRz6QZ1z9vKq", "x"})


async def test_a_postfix_that_does_not_list_its_queue_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await queued_among({"x"}) is None


def test_damaged_messages_are_told_with_the_others_once_they_were_looked_for() -> None:
    counted = PostfixQueue(active=2, oldest_seconds=5, active_ages=[2, 0, 0, 0, 0])
    assert with_corrupt(counted, 0) == PostfixQueue(active=2, oldest_seconds=5, active_ages=[2, 0, 0, 0, 0], corrupt=0)
    assert with_corrupt(counted, None) == counted
    assert with_corrupt(None, 3) is None
