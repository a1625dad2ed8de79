"""How a private daemon is started."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.embedded import confine
from control_plane.embedded.daemon import EmbeddedFailed, Quarters, check_socket_path, log_tail
from control_plane.embedded.postgres import binaries

DATA = Path("/home/user/.penguin/main/postgres")


def test_as_ourselves_a_daemon_sees_its_directory_where_it_is() -> None:
    place = Quarters(directories={"data": DATA}, user=None, home="/var/lib/postgresql")
    assert place.path("data") == str(DATA)
    assert place.command("INT", ["postgres"]) == ["setpriv", "--pdeathsig", "INT", "--no-new-privs", "--", "postgres"]


def test_for_its_own_user_the_directory_is_bound_where_that_user_can_go() -> None:
    place = Quarters(directories={"data": DATA}, user="postgres", home="/var/lib/postgresql")
    command = place.command("INT", ["postgres", "-D", place.path("data")])
    assert place.path("data") == "/var/lib/postgresql/data"
    assert command[:4] == ["unshare", "--mount", "--propagation", "private"]
    assert command[5:10] == ["-I", "-S", confine.__file__, "/var/lib/postgresql", f"data={DATA}"]
    assert command[-4:] == ["--", "postgres", "-D", "/var/lib/postgresql/data"]


def test_the_signal_for_a_parent_that_dies_is_asked_for_after_the_user_has_changed() -> None:
    """The kernel forgets it when credentials change (prctl(2)); setpriv sets it last, when it is in one call."""
    place = Quarters(directories={}, user="redis", home="/var/lib/redis")
    command = place.command("TERM", ["redis-server"])
    setpriv = command[command.index("setpriv") :]
    assert setpriv[1:3] == ["--pdeathsig", "TERM"]
    assert "--reuid" in setpriv


@given(st.integers(min_value=1, max_value=300))
def test_a_socket_path_has_at_most_107_bytes(length: int) -> None:
    path = Path("/" + "s" * (length - 1)) if length > 1 else Path("/")
    if length <= 107:
        check_socket_path(path)
    else:
        with pytest.raises(EmbeddedFailed, match="too long"):
            check_socket_path(path)


def test_a_cluster_of_a_version_that_is_not_installed_names_the_package(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedFailed, match="postgresql-9"):
        binaries(tmp_path)


def test_the_end_of_a_log_is_quoted_on_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10)))
    assert log_tail(log) == f"{log} ends with: line 5 | line 6 | line 7 | line 8 | line 9"
