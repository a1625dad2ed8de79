import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.preflight.findings import Check, Consequence, Finding, Verdict, consequence_of, reasons

FINDINGS = st.lists(
    st.builds(Finding, st.sampled_from(Check), st.just("it"), st.sampled_from(Verdict), st.text(max_size=5))
)


@pytest.mark.parametrize(
    ("check", "verdict", "consequence"),
    [
        (Check.PORT_25, Verdict.FAILED, Consequence.OPEN_PORT),
        (Check.PORT_25, Verdict.PENDING, Consequence.WAIT),
        (Check.PORT_25, Verdict.UNKNOWN, Consequence.USE),
        (Check.REVERSE_DNS, Verdict.FAILED, Consequence.WAIT),
        (Check.REVERSE_DNS, Verdict.PENDING, Consequence.WAIT),
        (Check.REVERSE_DNS_V6, Verdict.WARNED, Consequence.USE),
        (Check.BLOCKLIST_V6, Verdict.WARNED, Consequence.USE),
        (Check.BLOCKLIST, Verdict.FAILED, Consequence.REPLACE_ADDRESS),
        (Check.BLOCKLIST, Verdict.WARNED, Consequence.USE),
        (Check.BLOCKLIST, Verdict.UNKNOWN, Consequence.USE),
        (Check.CLOCK, Verdict.FAILED, Consequence.WAIT),
        (Check.CLOCK, Verdict.UNKNOWN, Consequence.USE),
    ],
)
def test_each_finding_has_its_consequence(check: Check, verdict: Verdict, consequence: Consequence) -> None:
    finding = Finding(check, "it", verdict, "because")
    assert consequence_of([finding]) is consequence
    assert reasons([finding], consequence) == ["because"]


@given(FINDINGS, FINDINGS)
def test_what_is_found_besides_never_makes_a_server_better(some: list[Finding], more: list[Finding]) -> None:
    order = list(Consequence)
    assert order.index(consequence_of(some + more)) == max(
        order.index(consequence_of(some)), order.index(consequence_of(more))
    )


@given(FINDINGS)
def test_a_server_is_used_only_when_nothing_failed_that_counts_and_nothing_is_pending(findings: list[Finding]) -> None:
    holds_up = any(
        each.verdict is Verdict.PENDING
        or (each.verdict is Verdict.FAILED and each.check not in {Check.REVERSE_DNS_V6, Check.BLOCKLIST_V6})
        for each in findings
    )
    assert (consequence_of(findings) is Consequence.USE) is not holds_up


@given(FINDINGS)
def test_what_keeps_a_server_is_said(findings: list[Finding]) -> None:
    consequence = consequence_of(findings)
    assert len(reasons(findings, consequence)) >= (consequence is not Consequence.USE)
