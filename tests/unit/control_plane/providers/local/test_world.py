from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from control_plane.providers.local.world import World


def test_a_world_is_named_by_its_state_directory_alone() -> None:
    assert World(Path("/a/state")).name == World(Path("/a/../a/state")).name
    assert World(Path("/a/state")).name != World(Path("/b/state")).name
    assert World(Path("/a/state")).name.startswith("pgn-")


def test_a_command_enters_the_world_by_its_namespace_only() -> None:
    world = World(Path("/a/state"))
    assert world.enter == ["nsenter", f"--net=/run/netns/{world.name}", "--"]


@given(st.text(st.characters(categories=("L", "N")), min_size=1))
def test_a_route_metric_fits_the_kernel_and_is_never_the_default(name: str) -> None:
    assert 1 <= World(Path("/") / name).route_metric < 2**32
