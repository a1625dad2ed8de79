from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.preflight.clock import judge_clock
from control_plane.preflight.findings import Check, Verdict
from control_plane.preflight.port_25 import judge_port_25
from control_plane.preflight.port_25_request import port_25_request
from control_plane.preflight.reverse_dns import judge_reverse_dns

OWN, ADDRESS = "mx-1.penguin.example", "192.0.2.1"


@pytest.mark.parametrize(
    ("names", "addresses", "verdict", "words"),
    [
        ((OWN,), (ADDRESS,), Verdict.PASSED, "name each other"),
        ((OWN,), (ADDRESS, "192.0.2.9"), Verdict.PASSED, "name each other"),
        ((), (ADDRESS,), Verdict.FAILED, "192.0.2.1 has no PTR record; it should name mx-1.penguin.example"),
        (("static.1.2.example",), (ADDRESS,), Verdict.FAILED, "names static.1.2.example and not mx-1"),
        ((OWN,), (), Verdict.FAILED, "mx-1.penguin.example has no address in DNS"),
        ((OWN,), ("192.0.2.2",), Verdict.FAILED, "has 192.0.2.2 in DNS, and not 192.0.2.1"),
        ((OWN, "other.example"), (ADDRESS,), Verdict.WARNED, "names other.example besides"),
    ],
)
def test_an_address_and_a_name_have_to_name_each_other(
    names: tuple[str, ...], addresses: tuple[str, ...], verdict: Verdict, words: str
) -> None:
    finding = judge_reverse_dns(OWN.upper(), ADDRESS, names, addresses)
    assert (finding.check, finding.verdict) == (Check.REVERSE_DNS, verdict)
    assert words in finding.detail


@pytest.mark.parametrize(
    ("states", "verdicts"),
    [
        (["done"], [Verdict.PASSED]),
        (["done", "failed", "expired"], [Verdict.PASSED, Verdict.WARNED, Verdict.UNKNOWN]),
        (["failed", "failed"], [Verdict.FAILED, Verdict.FAILED]),
        (["failed", "unknown"], [Verdict.FAILED, Verdict.PENDING]),
        (["refused"], [Verdict.UNKNOWN]),
        (["expired"], [Verdict.PENDING]),
        (["waiting"], [Verdict.PENDING]),
        (["sent"], [Verdict.PENDING]),
        ([], [Verdict.UNKNOWN]),
    ],
)
def test_what_becomes_of_probes(states: Sequence[str], verdicts: Sequence[Verdict]) -> None:
    findings = judge_port_25([(f"mx{n}.example:25", state, "why") for n, state in enumerate(states)])
    assert [finding.verdict for finding in findings] == verdicts


@given(st.lists(st.sampled_from(["done", "failed", "refused", "expired", "unknown", "sent"]), min_size=1))
def test_one_greeting_opens_the_port_and_nothing_else_does(states: list[str]) -> None:
    verdicts = {finding.verdict for finding in judge_port_25([("mx.example:25", state, "") for state in states])}
    assert (Verdict.PASSED in verdicts) is ("done" in states)
    if "done" in states:
        assert not verdicts & {Verdict.FAILED, Verdict.PENDING}


@pytest.mark.parametrize(
    ("offset_ms", "verdict", "words"),
    [
        (None, Verdict.UNKNOWN, "not measured yet"),
        (0, Verdict.PASSED, "0.0 s from ours"),
        (-10_000, Verdict.PASSED, "10.0 s from ours"),
        (10_001, Verdict.FAILED, "ahead of ours"),
        (-90_000, Verdict.FAILED, "90.0 s behind ours, more than 10 s"),
    ],
)
def test_a_clock_may_be_off_by_so_much(offset_ms: int | None, verdict: Verdict, words: str) -> None:
    finding = judge_clock(offset_ms, 10)
    assert finding.verdict is verdict
    assert words in finding.detail


@pytest.mark.parametrize(("provider", "words"), [("hetzner", "Hetzner Cloud Console"), ("other", "support")])
def test_the_request_to_the_provider_names_the_server_and_where_to_send_it(provider: str, words: str) -> None:
    request = port_25_request(provider, OWN, ADDRESS)
    assert words in request
    assert OWN in request
    assert ADDRESS in request
