"""What changes and what does not, from what dpkg, apt and systemd said on a Debian 12."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.packages.choose import (
    Installed,
    choose,
    look_at_units,
    parse_installed,
    parse_offered,
    passing_units,
    refuse_others,
    running_units,
    wrong_version,
)
from agent.upgrade.carry_out import Refused
from agent.upgrade.judge import Look

QUERIED = (
    "dovecot-core\t1:2.3.19.1+dfsg1-2.1+deb12u7\tinstalled\n"
    "librbl1\t\tnot-installed\n"
    "nginx\t1.22.1-9+deb12u11\tconfig-files\n"
    "postfix\t3.7.11-0+deb12u1\thalf-configured\n"
)
MADISON = (
    "   postfix | 3.7.12-0+deb12u1 | http://security.example bookworm-security/main amd64 Packages\n"
    "   postfix | 3.7.11-0+deb12u1 | http://deb.example bookworm/main amd64 Packages\n"
    "  opendkim | 2.11.0~beta2-8+deb12u1 | http://deb.example bookworm/main amd64 Packages\n"
)
SIMULATED = (
    "NOTE: This is only a simulation!\n"
    "Inst dovecot-imapd [1:2.3.19-1] (1:2.3.20-1 Debian:12 [amd64]) []\n"
    "Inst dovecot-core:amd64 [1:2.3.19-1] (1:2.3.20-1 Debian:12 [amd64])\n"
    "Conf dovecot-core (1:2.3.20-1 Debian:12 [amd64])\n"
)
SHOWN = (
    "Id=postfix@-.service\nNRestarts=0\nActiveState=active\n\n"
    "Id=opendkim.service\nNRestarts={restarts}\nActiveState={state}\nActiveExitTimestampMonotonic={left}\n\n"
    "Id=nginx.service\nNRestarts=0\nActiveState=inactive\n"
)
ONE, TWO = Installed("1", "installed"), Installed("2", "installed")


def test_what_is_there_and_what_is_offered_is_read() -> None:
    assert parse_installed(QUERIED) == {
        "dovecot-core": Installed("1:2.3.19.1+dfsg1-2.1+deb12u7", "installed"),
        "postfix": Installed("3.7.11-0+deb12u1", "half-configured"),
    }
    offered = parse_offered(MADISON)
    assert offered["postfix"] == {"3.7.12-0+deb12u1", "3.7.11-0+deb12u1"}
    assert parse_offered("") == {}


def test_of_the_versions_asked_for_the_first_one_here_is_taken() -> None:
    # The first is another distribution's.
    wanted = {"postfix": ("3.10.5-1", "2", "1"), "opendkim": ("1",), "nginx": ("9",)}
    assert choose(wanted, {"postfix": ONE, "opendkim": ONE}, {"postfix": {"1", "2"}}) == {"postfix": "2"}


def test_a_version_that_nobody_offers_is_refused_whole() -> None:
    with pytest.raises(Refused, match="postfix is offered here as 1, 2, and not as 3"):
        choose(
            {"opendkim": ["2"], "postfix": ["3"]}, {"opendkim": ONE, "postfix": ONE}, {name: {"2"} for name in NAMES}
        )


def test_a_package_that_is_not_whole_is_left_to_people() -> None:
    with pytest.raises(Refused, match="postfix is half-configured here as it is"):
        choose({"postfix": ["2"]}, {"postfix": Installed("1", "half-configured")}, {"postfix": ["2"]})


def test_nothing_changes_beside_what_is_named() -> None:
    refuse_others(SIMULATED, {"dovecot-core", "dovecot-imapd"})
    with pytest.raises(Refused, match="dovecot-imapd would change with it"):
        refuse_others(SIMULATED, {"dovecot-core"})
    with pytest.raises(Refused, match="libssl3 would change"):
        refuse_others("Remv libssl3 [3.0]\n", {"postfix"})


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"postfix": TWO, "opendkim": ONE}, ""),
        ({"postfix": ONE}, "postfix 1 is installed; 2 should be"),
        ({"postfix": Installed("2", "half-configured")}, "postfix 2 is half-configured"),
        ({}, "postfix is gone"),
    ],
)
def test_what_dpkg_did_not_bring_to_an_end_is_seen(installed: dict[str, Installed], words: str) -> None:
    found = wrong_version({"postfix": "2"}, installed)
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(
    ("state", "restarts", "seconds", "left", "look"),
    [
        ("active", 2, 60.0, 999, Look()),
        ("activating", 2, 19.0, 0, Look(is_passing=True)),
        ("activating", 0, 21.0, 0, Look("opendkim.service is activating after 21 s")),
        ("failed", 0, 1.0, 999, Look("opendkim.service ended for good")),
        ("active", 3, 9.0, 999, Look("opendkim.service ended 3 times within 9 s")),
        # Somebody reloads or restarts it, long after the change.
        ("reloading", 0, 60.0, 0, Look()),
        ("inactive", 0, 60.0, 985, Look(is_passing=True)),
        ("inactive", 0, 60.0, 975, Look("opendkim.service is inactive after 25 s")),
    ],
)
def test_a_service_that_does_badly_is_named(state: str, restarts: int, seconds: float, left: int, look: Look) -> None:
    shown = SHOWN.format(state=state, restarts=restarts, left=left * 1_000_000)
    assert look_at_units(shown, ["postfix@-.service", "opendkim.service"], seconds, 1000.0) == look
    # What did not run before need not run after.
    assert look_at_units(shown, ["postfix@-.service"], seconds, 1000.0) == Look()


@pytest.mark.parametrize(("state", "runs", "passes"), [("failed", 1, 0), ("reloading", 2, 0), ("deactivating", 1, 1)])
def test_what_runs_and_what_is_being_started_or_stopped_is_told(state: str, runs: int, passes: int) -> None:
    shown = SHOWN.format(state=state, restarts=0, left=0)
    assert running_units(shown) == ["postfix@-.service", "opendkim.service"][:runs]
    assert passing_units(shown) == ["opendkim.service"][:passes]
    assert running_units("") == []


NAMES = ("postfix", "opendkim", "nginx")
VERSIONS = st.sampled_from("123")


@given(
    st.dictionaries(st.sampled_from(NAMES), st.lists(VERSIONS, min_size=1, max_size=3)),
    st.dictionaries(st.sampled_from(NAMES), VERSIONS),
    st.dictionaries(st.sampled_from(NAMES), st.sets(VERSIONS)),
)
def test_only_what_is_installed_changes_and_only_to_what_was_asked_for_and_is_offered(
    wanted: dict[str, list[str]], versions: dict[str, str], offered: dict[str, set[str]]
) -> None:
    installed = {name: Installed(version, "installed") for name, version in versions.items()}
    try:
        chosen = choose(wanted, installed, offered)
    except Refused:
        assert any(
            not set(wanted[name]) & ({versions[name]} | offered.get(name, set())) for name in wanted.keys() & versions
        )
        return
    for name, version in chosen.items():
        assert version in wanted[name]
        assert version in offered[name]
        assert version != versions[name]
