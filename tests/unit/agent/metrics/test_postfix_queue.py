"""Counting `postqueue -j`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.command import LINE_LIMIT
from agent.metrics.postfix_queue import Tally, queue_id_of, queued_among, read_postfix_queue, with_corrupt
from protos.agent.v1.telemetry_pb2 import PostfixQueue

NOW = 1_800_000_000.0
#: As Postfix 3.7 writes it.
LINE = (
    b'{"queue_name": "deferred", "queue_id": "4Y2kRz6QZ1z9vKq", "arrival_time": 1799999400, "message_size": 2345, '
    b'"forced_expire": false, "sender": "a@one.example", "recipients": [{"address": "b@two.example", '
    b'"delay_reason": "connect to mx.two.example[192.0.2.1]:25: Connection timed out"}]}\n'
)


def entry(queue: str, arrival: int) -> bytes:
    return json.dumps({"queue_name": queue, "queue_id": "x", "arrival_time": arrival}).encode() + b"\n"


def test_a_line_of_postfix_is_counted() -> None:
    tally = Tally()
    tally.add(LINE)
    result = tally.result(NOW)
    assert (result.deferred, result.oldest_seconds) == (1, 600)


def test_an_empty_queue_has_no_oldest_message() -> None:
    assert Tally().result(NOW).oldest_seconds == 0


def test_states_are_counted_apart_and_posted_mail_is_incoming() -> None:
    tally = Tally()
    for queue in ("maildrop", "incoming", "active", "active", "hold", "corrupt"):
        tally.add(entry(queue, 1_799_999_990))
    result = tally.result(NOW)
    assert (result.incoming, result.active, result.deferred, result.hold) == (2, 2, 0, 1)


@given(st.integers(0, len(LINE) - 3))
def test_a_line_cut_anywhere_counts_for_nothing(length: int) -> None:
    tally = Tally()
    tally.add(LINE[:length])
    assert sum(tally.counts.values()) == 0


@given(st.binary())
def test_noise_disturbs_nothing(noise: bytes) -> None:
    tally = Tally()
    tally.add(noise)
    tally.add(LINE)
    assert tally.counts["deferred"] == 1


@given(st.lists(st.integers(0, int(NOW)), min_size=1))
def test_the_oldest_message_counts(arrivals: list[int]) -> None:
    tally = Tally()
    for arrival in arrivals:
        tally.add(entry("deferred", arrival))
    assert tally.result(NOW).oldest_seconds == NOW - min(arrivals)


def test_a_line_tells_its_queue_id() -> None:
    assert queue_id_of(LINE) == "4Y2kRz6QZ1z9vKq"


@given(st.binary())
def test_a_line_that_is_cut_or_strange_tells_none(line: bytes) -> None:
    assert queue_id_of(line) == ""
    assert queue_id_of(LINE[:40]) == ""
    assert queue_id_of(b'{"queue_id": 7}') == ""


def to(*addresses: object) -> bytes:
    recipients = [{"address": address} for address in addresses]
    return json.dumps({"queue_name": "deferred", "arrival_time": 1, "recipients": recipients}).encode()


def test_the_domains_most_waited_for_are_told_with_their_provider() -> None:
    tally = Tally()
    for line in (to("a@Gmail.com", "b@gmail.com"), to("c@gmail.com", "d@two.example"), to("e"), to(5, None)):
        tally.add(line)
    assert [(each.domain, each.provider, each.messages) for each in tally.top_domains()] == [
        ("gmail.com", "google", 2),
        ("e", "other", 1),
        ("two.example", "other", 1),
    ]


def test_a_queue_for_ever_so_many_domains_needs_no_more_memory() -> None:
    tally = Tally()
    for number in range(5000):
        tally.add(to(f"a@{number}.example"))
    assert len(tally.domains) == 1000
    assert len(tally.top_domains()) == 10
    assert tally.counts["deferred"] == 5000


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
    many = to(*(f"somebody{number}@two.example" for number in range(LINE_LIMIT // 10)))
    listing(LINE + many + b"\n" + entry("active", 1_799_999_990))
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
    counted = PostfixQueue(active=2, oldest_seconds=5)
    assert with_corrupt(counted, 0) == PostfixQueue(active=2, oldest_seconds=5, corrupt=0)
    assert with_corrupt(counted, None) == counted
    assert with_corrupt(None, 3) is None
