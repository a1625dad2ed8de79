from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.preflight.findings import Check, Consequence, Finding, Verdict, consequence_of
from control_plane.preflight.ipv6 import may_send_over_ipv6, of_ipv6

FOUND = st.builds(
    Finding,
    st.sampled_from([Check.REVERSE_DNS, Check.BLOCKLIST]),
    st.just("it"),
    st.sampled_from(Verdict),
    st.just("x"),
)
NAMED = Finding(Check.REVERSE_DNS_V6, "2001:db8::1", Verdict.PASSED, "they name each other")


@given(FOUND)
def test_nothing_about_ipv6_keeps_a_server_from_use(found: Finding) -> None:
    told = of_ipv6(found)
    assert consequence_of([told]) is Consequence.USE
    assert told.about == found.about
    assert told.detail.startswith(found.detail)


@given(FOUND)
def test_what_keeps_mail_from_ipv6_says_so(found: Finding) -> None:
    told = of_ipv6(found)
    assert told.detail.endswith("nothing is sent over IPv6") is not may_send_over_ipv6([NAMED, told])


def test_an_address_of_which_nobody_can_tell_whether_it_is_named_stays_as_it_was() -> None:
    pending = of_ipv6(Finding(Check.REVERSE_DNS, "it", Verdict.PENDING, "no answer"))
    unlisted = of_ipv6(Finding(Check.BLOCKLIST, "it", Verdict.PASSED, "not listed"))
    assert may_send_over_ipv6([]) is may_send_over_ipv6([pending]) is may_send_over_ipv6([pending, unlisted]) is None


@pytest.mark.parametrize(
    ("verdict", "listed", "may"),
    [
        (Verdict.PASSED, None, True),
        (Verdict.PASSED, Verdict.PASSED, True),
        (Verdict.PASSED, Verdict.UNKNOWN, True),
        (Verdict.PASSED, Verdict.WARNED, False),
        (Verdict.PASSED, Verdict.FAILED, False),
        (Verdict.FAILED, Verdict.PASSED, False),
        (Verdict.PENDING, Verdict.WARNED, False),
        (Verdict.WARNED, Verdict.PASSED, False),
    ],
)
def test_mail_goes_out_by_an_address_that_is_named_and_not_listed(
    verdict: Verdict, listed: Verdict | None, may: bool
) -> None:
    found = [Finding(Check.REVERSE_DNS, "it", verdict, "x")]
    found += [Finding(Check.BLOCKLIST, "it", listed, "x")] if listed else []
    assert may_send_over_ipv6(map(of_ipv6, found)) is may


@given(st.lists(FOUND))
def test_what_is_found_about_ipv4_says_nothing_of_ipv6(found: list[Finding]) -> None:
    assert may_send_over_ipv6(found) is None
    assert may_send_over_ipv6([*found, NAMED])
    assert not may_send_over_ipv6([*found, NAMED, replace(NAMED, verdict=Verdict.WARNED)])
