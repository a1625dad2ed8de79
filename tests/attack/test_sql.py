"""What the API's role can do to another tenant by SQL: nothing, whatever its transaction names as the tenant."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.attack import sql_attacks
from tests.attack.ground import Ground
from tests.attack.sql_attacks import name_tenant

API = "penguin_api"
Attack = Callable[[psycopg.Connection, Ground], list[str]]

ATTACKS: list[Attack] = [
    sql_attacks.reading,
    sql_attacks.going_around,
    sql_attacks.moving,
    sql_attacks.planting,
    sql_attacks.taking_over,
    sql_attacks.referring,
    sql_attacks.calling,
    sql_attacks.climbing,
]
#: What a transaction names as its tenant, of the attacker's.
NAMED: dict[str, Callable[[Ground], str | None]] = {
    "another tenant": lambda ground: str(ground.attacker.id),
    "none": lambda _: None,
    "nothing": lambda _: "",
    "garbage": lambda _: "' OR true --",
    "nobody": lambda _: str(uuid.UUID(int=0)),
    "two": lambda ground: f"{ground.attacker.id},{ground.bystander.id}",
}


@contextmanager
def standing(ground: Ground, named: str, *, after_victim: bool) -> Iterator[psycopg.Connection]:
    """Connect as the API's role; `after_victim`, on a connection that carried a transaction of the victim before."""
    with ground.as_role(API) as connection:
        if after_victim:
            name_tenant(connection, str(ground.victim.id))
            assert connection.execute("SELECT count(*) FROM domains").fetchone() == (1,)
            connection.commit()
        name_tenant(connection, NAMED[named](ground))
        yield connection


@pytest.mark.parametrize(
    ("named", "after_victim"),
    [*((named, True) for named in NAMED), ("another tenant", False), ("none", False)],
    ids=lambda value: value if isinstance(value, str) else "reused" if value else "new",
)
def test_another_tenants_rows_are_out_of_reach(ground: Ground, named: str, *, after_victim: bool) -> None:
    before = ground.sums_of(ground.victim)
    with standing(ground, named, after_victim=after_victim) as connection:
        found = [finding for attack in ATTACKS for finding in attack(connection, ground)]
        found += sql_attacks.changing(connection, ground, own_rows=1 if named == "another tenant" else 0)
    assert found == []
    assert ground.sums_of(ground.victim) == before


def test_ones_own_rows_are_there(ground: Ground) -> None:
    with standing(ground, "another tenant", after_victim=True) as connection:
        assert sql_attacks.missing_own(connection, ground, ground.attacker) == []


def test_nobodys_tables_show_nothing_of_a_tenant(ground: Ground) -> None:
    """A table without a tenant that the API may read holds what is the same for all."""
    with ground.as_role(API) as connection:
        readable = {name for name, _ in sql_attacks._with_right(connection, "SELECT")}
    nobodys = {table for table in ground.catalogue.columns if not ground.catalogue.of_tenants(table)}
    assert readable & nobodys == {"plans"}


#: What is one alone among all tenants, and can be guessed: here somebody is told that a name is taken.
TAKEN_AMONG_ALL = {
    # The DNS has each name once, so one tenant sends for it; who proves that it is theirs is told so (inboxes/domains).
    ("domains", "name"),
    ("inboxes", "email_address"),
    ("inbox_aliases", "email_address"),
    # Made by us, with a random part.
    ("vps_servers", "hostname"),
    ("server_addresses", "hostname"),
}


def test_what_is_unique_among_all_tenants_is_unguessable_or_known_to_be_public(ground: Ground) -> None:
    """Where the API may insert, a key without the tenant tells whether somebody else has the same."""
    query = (
        "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)"
        " WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace"
        " AND has_any_column_privilege(c.oid, 'INSERT')"
        " AND NOT EXISTS (SELECT FROM pg_attribute b WHERE b.attrelid = c.oid AND b.attnum = ANY (i.indkey)"
        "                 AND (b.attname = 'tenant_id' OR b.atttypid IN ('uuid'::regtype, 'bytea'::regtype)))"
    )
    with ground.as_role(API) as connection:
        assert set(connection.execute(query).fetchall()) <= TAKEN_AMONG_ALL
