"""What an SPF record costs: 10 look-ups and 2 empty ones, over all that it includes."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.problems import Problem
from control_plane.dns.resolve import NoAnswer
from control_plane.dns.spf import parse_spf
from control_plane.dns.spf_cost import Ask, SpfCost, spf_cost, spf_fault

DOMAIN = "acme.example"


def world(zones: Mapping[tuple[str, str], tuple[str, ...]], *silent: str) -> Ask:
    async def ask(name: str, record_type: str) -> tuple[str, ...]:
        if name in silent:
            raise NoAnswer(name)
        return zones.get((name, record_type), ())

    return ask


def chain(length: int) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """Includes that include one another: i1 costs `length` look-ups with its own include."""
    zones: dict[tuple[str, str], tuple[str, ...]] = {
        (f"i{n}.example", "TXT"): (f"v=spf1 include:i{n + 1}.example -all",) for n in range(1, length)
    }
    return zones | {(f"i{length}.example", "TXT"): ("v=spf1 ip4:192.0.2.1 -all",)}


async def cost_of(value: str, ask: Ask) -> SpfCost:
    return await spf_cost(DOMAIN, parse_spf(value), ask)


async def test_addresses_cost_nothing() -> None:
    cost = await cost_of("v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 exp=why.acme.example -all", world({}))

    assert (cost.lookups, cost.void_lookups, cost.fault) == (0, 0, None)


async def test_each_mechanism_that_asks_costs_one() -> None:
    zones = {
        (DOMAIN, "A"): ("192.0.2.1",),
        (DOMAIN, "MX"): ("10 mx.acme.example",),
        ("x.example", "A"): ("192.0.2.1",),
        ("r.example", "TXT"): ("v=spf1 -all",),
    }

    cost = await cost_of("v=spf1 a mx ptr exists:x.example exists:%{i}.x.example redirect=r.example", world(zones))

    assert (cost.lookups, cost.void_lookups) == (6, 0)


@pytest.mark.parametrize(("length", "fault"), [(10, None), (11, Problem.SPF_TOO_MANY_LOOKUPS)])
async def test_what_is_included_counts_too(length: int, fault: Problem | None) -> None:
    found = await spf_fault(DOMAIN, "v=spf1 include:i1.example -all", world(chain(length)))

    assert (found[0] if found else None) is fault


async def test_a_circle_of_includes_ends() -> None:
    zones = {("i.example", "TXT"): ("v=spf1 include:i.example -all",)}

    fault = await spf_fault(DOMAIN, "v=spf1 include:i.example -all", world(zones))

    assert fault is not None
    assert fault[0] is Problem.SPF_TOO_MANY_LOOKUPS


@pytest.mark.parametrize(("names", "fault"), [(2, None), (3, Problem.SPF_TOO_MANY_VOID_LOOKUPS)])
async def test_two_names_may_be_empty(names: int, fault: Problem | None) -> None:
    value = " ".join(["v=spf1", *(f"a:gone{n}.example" for n in range(names)), "-all"])

    found = await spf_fault(DOMAIN, value, world({}))

    assert (found[0] if found else None) is fault


async def test_an_address_of_the_other_family_is_no_empty_answer() -> None:
    cost = await cost_of("v=spf1 a -all", world({(DOMAIN, "AAAA"): ("2001:db8::1",)}))

    assert cost.void_lookups == 0


@pytest.mark.parametrize("theirs", [(), ("v=spf1 -all", "v=spf1 a"), ("v=spf1 ipv4:192.0.2.1",)])
async def test_an_include_of_what_is_no_record_breaks_the_whole(theirs: tuple[str, ...]) -> None:
    fault = await spf_fault(DOMAIN, "v=spf1 include:i.example -all", world({("i.example", "TXT"): theirs}))

    assert fault is not None
    assert fault[0] is Problem.SPF_SYNTAX
    assert "i.example" in fault[1]


async def test_who_does_not_answer_is_counted_and_named_and_no_fault() -> None:
    cost = await cost_of("v=spf1 include:i.example a:w.example -all", world({}, "i.example", "w.example"))

    assert (cost.lookups, cost.void_lookups, cost.unknown, cost.fault) == (2, 0, ["i.example", "w.example"], None)


@given(tree=st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=5), max_leaves=25))
async def test_the_count_is_that_of_the_whole_tree_or_stops_past_the_limit(tree: list[object]) -> None:
    zones: dict[tuple[str, str], tuple[str, ...]] = {}
    total = plant("n", tree, zones)

    cost = await cost_of(zones["n.example", "TXT"][0], world(zones))

    assert cost.lookups == min(total, 11)
    assert (cost.fault is None) == (total <= 10)


def plant(name: str, tree: list[object], zones: dict[tuple[str, str], tuple[str, ...]]) -> int:
    """Write a record that includes one for each branch, and return how many includes there are below it."""
    names = [f"{name}-{number}" for number in range(len(tree))]
    zones[f"{name}.example", "TXT"] = (" ".join(["v=spf1", *(f"include:{n}.example" for n in names), "-all"]),)
    return len(tree) + sum(
        plant(inner, branch, zones) for inner, branch in zip(names, tree, strict=True) if isinstance(branch, list)
    )
