"""Reading `systemctl show`."""

from hypothesis import given
from hypothesis import strategies as st

from agent.metrics.units import is_postfix_running, parse_units
from protos.agent.v1.telemetry_pb2 import Unit

#: As systemd 252 writes it, for Postfix, a socket (which has no restarts) and a unit that is not installed.
OUTPUT = """\
NRestarts=2
Id=postfix@-.service
LoadState=loaded
ActiveState=active
SubState=running

Id=penguin-configure.socket
LoadState=loaded
ActiveState=active
SubState=listening

NRestarts=0
Id=opendmarc.service
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


def test_installed_units_are_read() -> None:
    assert list(parse_units(OUTPUT)) == [
        Unit(name="postfix@-.service", active_state="active", sub_state="running", restarts=2),
        Unit(name="penguin-configure.socket", active_state="active", sub_state="listening"),
    ]


@given(st.integers(0, len(OUTPUT)))
def test_cut_output_gives_the_units_that_are_whole(length: int) -> None:
    names = [unit.name for unit in parse_units(OUTPUT[:length])]
    assert "opendmarc.service" not in names


@given(st.text())
def test_noise_gives_nothing(noise: str) -> None:
    assert list(parse_units(noise)) == []


def test_postfix_runs_in_its_instance_and_not_in_the_name_for_all_instances() -> None:
    instance = Unit(name="postfix@-.service", active_state="active", sub_state="running")
    name = Unit(name="postfix.service", active_state="active", sub_state="exited")
    assert is_postfix_running([name, instance])
    assert not is_postfix_running([name])
