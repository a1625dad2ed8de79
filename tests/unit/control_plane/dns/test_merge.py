"""Whatever a zone holds and whatever we want: what others wrote stays, and ours is there or a conflict says why not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.judge import Verdict, judge
from control_plane.dns.merge import Merged, RRset, RRsetKey, merge
from control_plane.dns.plan import Blend, PlannedChange, PlanRefused, Replacement, refuse_foreign_loss
from control_plane.dns.problems import Problem
from control_plane.dns.records import DnsRecord

ZONE = "acme.example"
NAMES = st.sampled_from(["@", "_dmarc", "pm1._domainkey", "www"])
TXT = st.sampled_from(
    ["v=spf1 -all", "v=spf1 ip4:192.0.2.7 ~all", "v=DMARC1; p=none", "v=DMARC1; p=reject", "site=1", "v=DKIM1; p=x"]
)
MX = st.sampled_from(["10 mx-1.penguin.example", "10 mail.other.example"])
A = st.sampled_from(["192.0.2.7", "192.0.2.8"])
RECORDS = st.frozensets(
    st.one_of(
        st.builds(DnsRecord, st.just(ZONE), st.just("TXT"), NAMES, TXT),
        st.builds(DnsRecord, st.just(ZONE), st.just("MX"), NAMES, MX),
        st.builds(DnsRecord, st.just(ZONE), st.just("A"), NAMES, A),
    ),
    max_size=8,
)


def zone_of(records: frozenset[DnsRecord]) -> dict[RRsetKey, RRset]:
    keys = {(record.type, record.name) for record in records}
    return {key: RRset(frozenset(r.value for r in records if (r.type, r.name) == key), 300) for key in keys}


def applied(zone: dict[RRsetKey, RRset], merged: Merged) -> dict[RRsetKey, RRset]:
    return {key: rrset for key, rrset in (zone | dict(merged.rrsets)).items() if rrset is not None}


def holds(zone: dict[RRsetKey, RRset], record: DnsRecord) -> bool:
    rrset = zone.get((record.type, record.name))
    return rrset is not None and record.value in rrset.values


@given(foreign=RECORDS, written=RECORDS, wanted=RECORDS)
def test_nothing_that_others_wrote_is_lost(
    foreign: frozenset[DnsRecord], written: frozenset[DnsRecord], wanted: frozenset[DnsRecord]
) -> None:
    zone = zone_of(foreign | written)

    merged = merge(zone, wanted, written)

    after = applied(zone, merged)
    replaced = {(r.type, r.name, r.found): r.put for r in merged.replacements}
    for record in foreign - written:
        put = replaced.get((record.type, record.name, record.value))
        assert holds(after, record if put is None else replace(record, value=put))
        assert put is None or set(record.value.split()) < set(put.split())


@given(foreign=RECORDS, written=RECORDS, wanted=RECORDS)
def test_what_we_want_is_there_or_served_or_a_conflict(
    foreign: frozenset[DnsRecord], written: frozenset[DnsRecord], wanted: frozenset[DnsRecord]
) -> None:
    zone = zone_of(foreign | written)

    merged = merge(zone, wanted, written)

    after = applied(zone, merged)
    conflicting = {conflict.record for conflict in merged.conflicts}
    for record in wanted:
        values = sorted(after[record.type, record.name].values) if (record.type, record.name) in after else []
        served = judge(record, values).verdict is Verdict.VERIFIED
        assert holds(after, record) or served or record in conflicting


@given(foreign=RECORDS, written=RECORDS, wanted=RECORDS)
def test_what_we_wrote_and_do_not_want_is_gone(
    foreign: frozenset[DnsRecord], written: frozenset[DnsRecord], wanted: frozenset[DnsRecord]
) -> None:
    zone = zone_of(foreign | written)

    after = applied(zone, merge(zone, wanted, written))

    assert not any(holds(after, record) for record in written - wanted)


@given(foreign=RECORDS, wanted=RECORDS)
def test_publishing_twice_changes_nothing_more_and_withdrawing_restores_the_zone(
    foreign: frozenset[DnsRecord], wanted: frozenset[DnsRecord]
) -> None:
    zone = zone_of(foreign)
    first = merge(zone, wanted, frozenset())
    once = applied(zone, first)

    again = merge(once, wanted, first.ours, first.blends)
    withdrawn = applied(once, merge(once, frozenset(), first.ours, first.blends))

    assert applied(once, again) == once
    assert (again.ours, again.blends) == (first.ours, first.blends)
    assert {key: rrset.values for key, rrset in withdrawn.items()} == {k: r.values for k, r in zone.items()}


def test_mail_that_goes_elsewhere_is_not_split() -> None:
    ours = DnsRecord(ZONE, "MX", "@", "10 mx-1.penguin.example")

    merged = merge({("MX", "@"): RRset(frozenset({"10 mail.other.example"}), 300)}, {ours}, ())

    assert merged.ours == frozenset()
    assert str(merged.conflicts[0]) == (
        "acme.example has 10 mail.other.example, where MX 10 mx-1.penguin.example is needed"
    )


def test_a_name_that_is_an_alias_is_left_alone() -> None:
    ours = DnsRecord(ZONE, "TXT", "_dmarc", "v=DMARC1; p=none")

    merged = merge({("CNAME", "_dmarc"): RRset(frozenset({"acme.dmarc.vendor.example"}), 300)}, {ours}, ())

    assert merged.rrsets == {("TXT", "_dmarc"): None}
    assert merged.conflicts[0].found == ("CNAME acme.dmarc.vendor.example",)


def test_a_plan_that_loses_a_foreign_value_is_refused() -> None:
    written = [DnsRecord(ZONE, "A", "www", "192.0.2.7")]
    loss = PlannedChange("A", "www", before=frozenset({"192.0.2.7", "192.0.2.8"}), after=frozenset())

    with pytest.raises(PlanRefused, match=r"would lose 192\.0\.2\.8"):
        refuse_foreign_loss([loss], written)


SPF = DnsRecord(ZONE, "TXT", "@", "v=spf1 ip4:192.0.2.7 ~all")
APEX = ("TXT", "@")


def apex(*values: str) -> dict[RRsetKey, RRset]:
    return {APEX: RRset(frozenset(values), 300)}


def test_our_servers_join_the_customers_spf_record_and_leave_it_again() -> None:
    theirs = "v=spf1 include:_spf.other.example -all"

    joined = merge(apex(theirs, "site=1"), {SPF}, ())
    left = merge(applied({}, joined), (), (), joined.blends)

    together = "v=spf1 ip4:192.0.2.7 include:_spf.other.example -all"
    assert applied({}, joined) == apex(together, "site=1")
    assert joined.blends == (Blend(SPF, theirs, together),)
    assert (joined.ours, joined.conflicts) == (frozenset(), ())
    assert applied({}, left) == apex(theirs, "site=1")


def test_what_the_customer_changed_since_survives_our_leaving() -> None:
    blend = Blend(SPF, "v=spf1 mx -all", "v=spf1 ip4:192.0.2.7 mx -all")

    left = merge(apex("v=spf1 ip4:192.0.2.7 mx a:www.acme.example ~all"), (), (), [blend])

    assert applied({}, left) == apex("v=spf1 mx a:www.acme.example ~all")


def test_another_server_takes_the_place_of_the_one_before() -> None:
    blend = Blend(SPF, "v=spf1 mx -all", "v=spf1 ip4:192.0.2.7 mx -all")
    other = replace(SPF, value="v=spf1 ip4:192.0.2.9 ~all")

    merged = merge(apex(blend.after), {other}, (), [blend])

    assert applied({}, merged) == apex("v=spf1 ip4:192.0.2.9 mx -all")
    assert merged.blends == (Blend(other, blend.before, "v=spf1 ip4:192.0.2.9 mx -all"),)


@pytest.mark.parametrize(
    ("theirs", "problem"),
    [
        (["v=spf1 mx -all", "v=spf1 a -all"], Problem.SPF_TWO_RECORDS),
        (["v=spf1 include: -all"], Problem.SPF_SYNTAX),
        (["v=spf1 +all"], Problem.SPF_PASSES_EVERYBODY),
    ],
)
def test_a_broken_spf_record_is_left_and_reported_by_name(theirs: list[str], problem: Problem) -> None:
    merged = merge(apex(*theirs), {SPF}, ())

    assert applied({}, merged) == apex(*theirs)
    assert [conflict.problem for conflict in merged.conflicts] == [problem]


def test_a_replacement_is_no_loss_only_with_what_takes_its_place() -> None:
    replacement = Replacement("TXT", "@", "v=spf1 -all", "v=spf1 ip4:192.0.2.7 -all")
    gone = PlannedChange("TXT", "@", frozenset({"v=spf1 -all"}), frozenset())

    refuse_foreign_loss([replace(gone, after=frozenset({replacement.put}))], (), [replacement])
    with pytest.raises(PlanRefused):
        refuse_foreign_loss([gone], (), [replacement])


def test_a_plan_shows_what_it_changes() -> None:
    change = PlannedChange("TXT", "@", frozenset({"a", "b"}), frozenset({"b", "c"}))

    assert str(change) == "- @ TXT a\n+ @ TXT c"
