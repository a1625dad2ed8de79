"""The decisions behind an installation: restarts, environments, URLs, places."""

import asyncio
import os
import signal
from pathlib import Path

import psycopg.conninfo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from control_plane.errors import InvalidInput, Unavailable
from control_plane.processes.child import ChildOrder, seconds_before_restart
from control_plane.processes.children import Listening, cloud_order, exported, process_orders
from control_plane.processes.database_roles import reached_at, system_url
from control_plane.processes.interruptible import run_interruptible
from control_plane.processes.places import Places, instances, state_dir
from control_plane.settings import Settings

PLACES = Places(Path("/x/.penguin/main"), "0123abcd", Path("/x/.penguin/wheelhouse"), Path("/x/.penguin/images"))
ENTER = ("nsenter", "--net=/run/netns/pgn-0123abcd", "--")


def some_settings() -> Settings:
    return Settings(
        state_dir=PLACES.state,
        wheelhouse_dir=PLACES.wheelhouse,
        api_database_url=SecretStr("postgresql://penguin_api@/penguin"),
        system_database_url=SecretStr("postgresql://penguin_system@/penguin"),
        identity_database_url=SecretStr("postgresql://penguin_identity@/penguin"),
        redis_url=SecretStr("unix://default:secret@/run/redis.sock"),
        powerdns_api_key=SecretStr("the name server's key"),
        hetzner_token=SecretStr("the token of a project"),
        nameservers=("10.77.0.53", "10.77.0.54"),
    )


def some_orders() -> dict[str, ChildOrder]:
    orders = process_orders(PLACES, ENTER, some_settings(), Listening(7, 8025), Listening(8, 8026))
    return {order.name: order for order in orders}


# ---------------------------------------------------------------- restarts


@given(st.integers(min_value=1, max_value=10_000))
def test_each_death_in_a_row_waits_longer_up_to_half_a_minute(deaths: int) -> None:
    assert 0.5 <= seconds_before_restart(deaths) <= seconds_before_restart(deaths + 1) <= 30


# ---------------------------------------------------------------- environments


def test_a_child_reads_the_settings_that_were_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in exported(some_settings()).items():
        monkeypatch.setenv(name, value)
    assert Settings() == some_settings()  # type: ignore[call-arg] # all from the environment


def test_a_child_is_not_told_the_owners_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENGUIN_DATABASE_URL", "postgresql://boss:secret@db.example/penguin")
    orders = [*some_orders().values(), cloud_order(PLACES, ENTER)]
    assert not any("boss" in value for order in orders for value in order.environment.values())


def test_each_rest_socket_goes_to_its_own_door_alone() -> None:
    orders = some_orders()
    assert (orders["api"].environment["PENGUIN_REST_FDS"], orders["api"].pass_fds) == ("7", (7,))
    assert (orders["operators"].environment["PENGUIN_REST_FDS"], orders["operators"].pass_fds) == ("8", (8,))
    others = [order for name, order in orders.items() if name not in {"api", "operators"}]
    assert not any(order.pass_fds or "PENGUIN_REST_FDS" in order.environment for order in others)


def test_each_rest_door_is_told_its_own_role_and_no_other() -> None:
    orders = some_orders()
    settings = {name: exported(some_settings())[f"PENGUIN_{name.upper()}_DATABASE_URL"] for name in ("api", "system")}
    api, operators = orders["api"].environment.values(), orders["operators"].environment.values()
    assert settings["api"] in api
    assert settings["system"] not in api
    assert settings["system"] in operators
    assert settings["api"] not in operators
    assert not any("redis.sock" in value for value in operators)
    assert "the name server's key" not in operators


def test_only_the_tenants_door_is_told_the_role_that_log_in_works_with() -> None:
    url = "postgresql://penguin_identity@/penguin"
    assert {name for name, order in some_orders().items() if url in order.environment.values()} == {"api"}


def test_only_the_worker_is_told_a_providers_token_and_the_tenants_door_that_it_is_offered() -> None:
    told = {name for name, order in some_orders().items() if "the token of a project" in order.environment.values()}
    assert told == {"worker"}
    assert some_orders()["api"].environment["PENGUIN_HETZNER_OFFERED"] == "True"


def test_without_a_socket_there_is_no_door_for_operators() -> None:
    orders = process_orders(PLACES, ENTER, some_settings(), Listening(7, 8025))
    assert "operators" not in {order.name for order in orders}


def test_every_process_runs_in_the_world_and_dies_with_us() -> None:
    for order in [*some_orders().values(), cloud_order(PLACES, ENTER)]:
        assert tuple(order.command[:3]) == ENTER
        assert list(order.command[3:6]) == ["setpriv", "--pdeathsig", "TERM"]


def test_only_who_makes_servers_has_all_of_roots_rights() -> None:
    orders = [*some_orders().values(), cloud_order(PLACES, ENTER)]
    whole = {
        order.name for order in orders if not any(word.startswith("--bounding-set=-all") for word in order.command)
    }
    assert whole == {"worker", "cloud"}


# ---------------------------------------------------------------- URLs


def test_a_connection_goes_to_the_door_while_the_name_stays_for_tls() -> None:
    url = reached_at("postgresql://penguin_api:a%2Fb@db.example:5433/mail?sslmode=verify-full", "127.0.0.1", 40000)
    assert psycopg.conninfo.conninfo_to_dict(url) == {
        "user": "penguin_api",
        "password": "a/b",
        "dbname": "mail",
        "sslmode": "verify-full",
        "host": "db.example",
        "hostaddr": "127.0.0.1",
        "port": "40000",
    }


def test_a_database_without_passwords_for_its_roles_is_not_set_up(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not set up"):
        system_url("postgresql://boss@db.example/mail", tmp_path)


# ---------------------------------------------------------------- places


@given(st.text(max_size=40))
def test_an_instance_is_a_folder_of_its_own_right_below_home(name: str) -> None:
    home = Path("/x/.penguin")
    try:
        state = state_dir(name, home)
    except InvalidInput:
        return
    assert state.parent == home
    assert state.name == name
    assert name not in ("venv", "images", "wheelhouse")


def test_sockets_have_short_paths_wherever_the_checkout_lies() -> None:
    deep = Places(Path("/" + "d" * 200), "0123abcd", PLACES.wheelhouse, PLACES.images)
    for path in (deep.cloud_socket, deep.runtime / "postgres/.s.PGSQL.5432", deep.runtime / "notify/downloads"):
        assert len(str(path)) < 80


def test_instances_are_found_by_what_they_left(tmp_path: Path) -> None:
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "main/run").mkdir(parents=True)
    (tmp_path / "demo/run").mkdir(parents=True)
    assert instances(tmp_path) == ["demo", "main"]


# ---------------------------------------------------------------- signals


def test_work_that_ends_by_itself_ends_with_0() -> None:
    async def work() -> None:
        return

    assert run_interruptible(work()) == 0


def test_the_first_signal_stops_in_order_and_a_second_does_not_cut_that_short() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ended.append("whole")

    assert run_interruptible(work()) == 128 + signal.SIGTERM
    assert ended == ["whole"]
