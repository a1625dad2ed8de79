import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.dns.mta_sts import MtaSts, Policy, policy_of
from mailstack.syntax import require_mta_sts_policy

_HOSTS = st.lists(st.from_regex(r"mx[0-9]{1,3}\.fleet\.example", fullmatch=True), min_size=1, max_size=4, unique=True)
_MODES = st.sampled_from([MtaSts.TESTING, MtaSts.ENFORCE])


def test_a_policy_names_every_server_and_holds_for_a_week_once_it_is_enforced() -> None:
    policy = policy_of("enforce", ["mx2.fleet.example", "mx1.fleet.example"])

    assert policy is not None
    assert policy.text == (
        "version: STSv1\nmode: enforce\nmx: mx1.fleet.example\nmx: mx2.fleet.example\nmax_age: 604800\n"
    )
    assert "max_age: 86400\n" in Policy(MtaSts.TESTING, ("mx1.fleet.example",)).text


@pytest.mark.parametrize(("mta_sts", "hosts"), [("none", ["mx1.fleet.example"]), ("testing", [])])
def test_a_domain_without_servers_or_that_does_not_ask_has_no_policy(mta_sts: str, hosts: list[str]) -> None:
    assert policy_of(mta_sts, hosts) is None


@given(_MODES, _HOSTS, _MODES, _HOSTS)
def test_the_id_changes_when_the_policy_does_and_at_no_other_time(
    mode: MtaSts, hosts: list[str], other_mode: MtaSts, other_hosts: list[str]
) -> None:
    one, other = policy_of(mode, hosts), policy_of(other_mode, other_hosts)

    assert one is not None
    assert other is not None
    require_mta_sts_policy(one.text)
    assert one.id.isalnum()
    assert len(one.id) <= 32
    assert (one.id == other.id) == ((mode, set(hosts)) == (other_mode, set(other_hosts)))
