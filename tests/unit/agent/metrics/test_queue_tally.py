"""Counting what `postqueue -j` lists."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.destinations import PROVIDERS, provider_of
from agent.metrics.queue_tally import AGE_BANDS, Tally
from protos.agent.v1.telemetry_pb2 import PostfixQueue, QueuedProviders

NOW = 1_800_000_000.0
#: As Postfix 3.7 writes it.
LINE = (
    b'{"queue_name": "deferred", "queue_id": "4Y2kRz6QZ1z9vKq", "arrival_time": 1799999400, "message_size": 2345, '
    b'"forced_expire": false, "sender": "a@one.example", "recipients": [{"address": "b@two.example", '
    b'"delay_reason": "connect to mx.two.example[192.0.2.1]:25: Connection timed out"}]}\n'
)
STATES = ("incoming", "active", "deferred", "hold")
_DOMAINS = st.sampled_from(["gmail.com", "Outlook.com", "yahoo.com", "icloud.com", "one.example", "two.example"])
_MESSAGES = st.tuples(
    st.sampled_from(STATES),
    st.integers(0, 10 * 86_400),
    st.lists(_DOMAINS.map(lambda domain: f"a@{domain}"), max_size=4),
)


def entry(queue: str, age: float, *addresses: object) -> bytes:
    recipients = [{"address": address} for address in addresses]
    told = {"queue_name": queue, "queue_id": "x", "arrival_time": NOW - age, "recipients": recipients}
    return json.dumps(told).encode() + b"\n"


def counted(*lines: bytes) -> PostfixQueue:
    tally = Tally(NOW)
    for line in lines:
        tally.add(line)
    return tally.result()


def ages(queue: PostfixQueue, state: str) -> list[int]:
    return list(getattr(queue, f"{state}_ages"))


def providers_of(queue: PostfixQueue, state: str) -> QueuedProviders:
    found: QueuedProviders = getattr(queue, f"{state}_providers")
    return found


def test_a_line_of_postfix_is_counted() -> None:
    others = QueuedProviders(other=1)
    waiting = PostfixQueue(deferred=1, oldest_seconds=600, deferred_ages=[0, 1, 0, 0, 0], deferred_providers=others)
    assert counted(LINE) == waiting


def test_of_an_empty_queue_nothing_is_told() -> None:
    assert counted().SerializeToString() == b""


def test_states_are_counted_apart_and_posted_mail_is_incoming() -> None:
    lines = [entry(queue, 10) for queue in ("maildrop", "incoming", "active", "active", "hold", "corrupt")]
    result = counted(*lines)
    assert (result.incoming, result.active, result.deferred, result.hold) == (2, 2, 0, 1)
    assert [ages(result, state) for state in STATES] == [[2, 0, 0, 0, 0], [2, 0, 0, 0, 0], [], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (-60, "under_5m"),
        (0, "under_5m"),
        (299, "under_5m"),
        (300, "5m_to_1h"),
        (3600, "1h_to_6h"),
        (21_600, "6h_to_1d"),
        (86_399, "6h_to_1d"),
        (86_400, "over_1d"),
        (10**7, "over_1d"),
    ],
)
def test_a_message_is_in_the_band_of_its_age(age: float, band: str) -> None:
    [place] = [place for place, count in enumerate(ages(counted(entry("hold", age)), "hold")) if count]
    assert AGE_BANDS[place] == band


@given(st.lists(_MESSAGES, max_size=40))
def test_every_message_counts_in_its_state_its_band_and_for_each_provider(
    messages: list[tuple[str, int, list[str]]],
) -> None:
    result = counted(*(entry(state, age, *addresses) for state, age, addresses in messages))
    waiting = Counter(state for state, _, _ in messages)
    assert {state: sum(ages(result, state)) for state in STATES} == {state: waiting[state] for state in STATES}
    assert {state: getattr(result, state) for state in STATES} == {state: waiting[state] for state in STATES}
    assert result.oldest_seconds == max((age for _, age, _ in messages), default=0)
    wanted = Counter(
        (state, provider)
        for state, _, addresses in messages
        for provider in {provider_of(address.partition("@")[2]) for address in addresses}
    )
    told = {(state, name): getattr(providers_of(result, state), name) for state in STATES for name in PROVIDERS}
    assert {key: count for key, count in told.items() if count} == wanted


@given(st.integers(0, len(LINE) - 3))
def test_a_line_cut_anywhere_counts_for_nothing(length: int) -> None:
    assert counted(LINE[:length]) == PostfixQueue()


@given(st.binary())
def test_noise_disturbs_nothing(noise: bytes) -> None:
    assert counted(noise, LINE).deferred == 1


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_what_is_no_moment_is_left_out_and_disturbs_nothing(moment: object) -> None:
    line = json.dumps({"queue_name": "active", "arrival_time": moment, "recipients": moment}).encode()
    assert counted(line, LINE).deferred == 1


def test_a_moment_without_end_is_left_out() -> None:
    endless = [b"Infinity", b"NaN", b"1e999", b"1" * 400, b'"1' + b"0" * 400 + b'"']
    lines = (b'{"queue_name": "active", "arrival_time": %s}' % moment for moment in endless)
    assert counted(*lines) == PostfixQueue()


def to(*addresses: object) -> bytes:
    return entry("deferred", 1, *addresses)


def test_the_domains_most_waited_for_are_told_with_their_provider() -> None:
    tally = Tally(NOW)
    for line in (to("a@Gmail.com", "b@gmail.com"), to("c@gmail.com", "d@two.example"), to("e"), to(5, None)):
        tally.add(line)
    assert [(each.domain, each.provider, each.messages) for each in tally.top_domains()] == [
        ("gmail.com", "google", 2),
        ("e", "other", 1),
        ("two.example", "other", 1),
    ]


def test_a_queue_for_ever_so_many_domains_needs_no_more_memory_and_all_count_for_their_provider() -> None:
    tally = Tally(NOW)
    for number in range(5000):
        tally.add(to(f"a@{number}.example"))
    tally.add(to("a@gmail.com"))
    assert len(tally.domains) == 1000
    assert len(tally.top_domains()) == 10
    told = tally.result()
    assert told.deferred == 5001
    assert told.deferred_providers == QueuedProviders(google=1, other=5000)
