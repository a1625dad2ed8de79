import ipaddress
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.preflight.blocklists import (
    SHIPPED,
    Blocklist,
    Severity,
    distrust,
    judge_address,
    judge_network,
    question,
    read_blocklists,
    refusal_of,
    sample_of_network,
)
from control_plane.preflight.findings import Verdict

LIST = Blocklist(
    name="The List",
    zone="list.example",
    severity=Severity.REFUSE,
    listed={"127.0.0.2": "spam", "127.0.0.10": "a home"},
    not_asked={"127.255.255.254": "public resolvers get no answer"},
    neighbours=4,
    rules="Ask nicely.",
    removal="https://list.example/off",
)
WARNING = LIST.model_copy(update={"severity": Severity.WARN})
ADDRESSES = st.ip_addresses(v=4).map(str)


def test_an_address_is_asked_for_backwards() -> None:
    assert question("list.example", "192.0.2.99") == "99.2.0.192.list.example"
    nibbles = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4"
    assert question("list.example", "4321:0:1:2:3:4:567:89ab") == f"{nibbles}.list.example"


@pytest.mark.parametrize(
    ("blocklist", "codes", "verdict", "words"),
    [
        (LIST, (), Verdict.PASSED, "not listed by The List"),
        (LIST, ("127.0.0.2",), Verdict.FAILED, "listed by The List: spam. "),
        (LIST, ("127.0.0.10", "127.0.0.2"), Verdict.FAILED, "listed by The List: a home; spam. "),
        (WARNING, ("127.0.0.2",), Verdict.WARNED, "https://list.example/off"),
        (LIST, ("127.255.255.254",), Verdict.UNKNOWN, "public resolvers get no answer. Ask nicely."),
        (LIST, ("127.0.0.2", "127.255.255.254"), Verdict.UNKNOWN, "public resolvers"),
        (LIST, ("127.0.0.77",), Verdict.UNKNOWN, "127.0.0.77, which is not one of its codes"),
        (LIST, ("203.0.113.5",), Verdict.UNKNOWN, "203.0.113.5, which is not one of its codes"),
    ],
)
def test_what_an_answer_means(blocklist: Blocklist, codes: Sequence[str], verdict: Verdict, words: str) -> None:
    finding = judge_address(blocklist, codes)
    assert finding.verdict is verdict
    assert words in finding.detail


@pytest.mark.parametrize(
    ("listed", "unlisted", "words"),
    [
        ((), (), "does not answer us"),
        (("127.0.0.2",), ("127.0.0.2",), "lists everything"),
        (("127.255.255.254",), ("127.255.255.254",), "public resolvers"),
        (("203.0.113.5",), ("203.0.113.5",), "not one of its codes"),
    ],
)
def test_a_list_that_answers_oddly_for_the_test_addresses_is_not_believed(
    listed: Sequence[str], unlisted: Sequence[str], words: str
) -> None:
    assert words in (distrust(LIST, listed, unlisted) or "")


def test_a_list_that_answers_as_lists_do_is_believed() -> None:
    assert distrust(LIST, ("127.0.0.2", "127.0.0.10"), ()) is None


@given(st.frozensets(ADDRESSES, max_size=4), st.sampled_from([LIST, WARNING]))
def test_an_address_is_held_against_only_by_codes_that_the_list_knows(
    codes: frozenset[str], blocklist: Blocklist
) -> None:
    finding = judge_address(blocklist, codes)
    if not codes <= set(blocklist.listed):
        assert finding.verdict is Verdict.UNKNOWN
        assert refusal_of(blocklist, codes) is not None
    else:
        assert (finding.verdict is Verdict.PASSED) is not bool(codes)


@given(ADDRESSES, st.integers(0, 64))
def test_neighbours_are_other_hosts_of_the_same_network(address: str, count: int) -> None:
    sample = sample_of_network(address, count)
    network = ipaddress.IPv4Network(f"{address}/24", strict=False)
    assert len(set(sample)) == count
    assert address not in sample
    assert all(ipaddress.IPv4Address(each) in list(network.hosts()) for each in sample)


def test_no_neighbours_of_an_ipv6_address_are_asked_about() -> None:
    assert sample_of_network("2001:db8::1", 64) == ()


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([(), (), (), ()], Verdict.PASSED),
        ([("127.0.0.2",), (), (), ()], Verdict.WARNED),
        ([("127.0.0.2",), ("127.0.0.10",), (), ()], Verdict.FAILED),
        ([("127.0.0.2",)] * 4, Verdict.FAILED),
        ([("127.255.255.254",), (), (), ()], Verdict.UNKNOWN),
    ],
)
def test_one_bad_neighbour_is_no_bad_neighbourhood(answers: Sequence[Collection[str]], verdict: Verdict) -> None:
    finding = judge_network(LIST, "192.0.2.0/24", answers)
    assert finding.verdict is verdict
    assert finding.about == "list.example 192.0.2.0/24"
    if verdict is Verdict.FAILED:
        assert judge_network(WARNING, "192.0.2.0/24", answers).verdict is Verdict.WARNED


def test_the_lists_that_are_shipped_can_be_read_and_say_by_which_rules_they_are_asked() -> None:
    lists = read_blocklists(SHIPPED)
    assert len({each.zone for each in lists}) == len(lists) > 3
    assert all(each.rules.endswith(".") and "127.0.0.2" in each.listed for each in lists)
    (zen,) = [each for each in lists if each.zone == "zen.spamhaus.org"]
    assert judge_address(zen, ["127.255.255.254"]).verdict is Verdict.UNKNOWN
    assert zen.ipv6


@pytest.mark.parametrize(
    "change",
    [
        {"listed": {"10.0.0.1": "x"}},
        {"not_asked": {"127.0.0.2": "x"}},
        {"listed": {}},
        {"zone": "Nowhere"},
        {"zone": "list.example."},
        {"severity": "perhaps"},
        {"neighbours": 65},
        {"rules": ""},
        {"more": 1},
    ],
)
def test_a_list_that_is_not_as_it_should_be_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Blocklist.model_validate({**LIST.model_dump(), **change})
