import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from control_plane.privacy import retention
from control_plane.privacy.retention import RULES, forget_old
from db.session import Database
from tests.integration.database import SomeTenant, until_blocked
from tests.integration.mail_rows import make_inbox, make_sends, make_server


@pytest.fixture
def owner(owner_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(owner_url, autocommit=True) as connection:
        yield connection


def count(owner: psycopg.Connection, table: str) -> int:
    found = owner.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    return int(found[0]) if found else 0


async def test_contents_go_thirty_days_after_the_end_and_all_else_of_a_message_stays(
    system_database: Database, tenant: SomeTenant, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    old = await make_sends(system_database, inbox, 3)
    young = await make_sends(system_database, inbox, 1)
    unsure = await make_sends(system_database, inbox, 1)
    waiting = await make_sends(system_database, inbox, 1)
    ended = "UPDATE messages SET state = %s, final_at = now() - make_interval(days => %s) WHERE id = ANY(%s)"
    for state, days, ids in (("delivered", 31, old), ("delivered", 29, young), ("uncertain", 31, unsure)):
        owner.execute(ended, [state, days, ids])
    assert (await forget_old(system_database))["contents of messages after their end"] == 3
    emptied = owner.execute("SELECT id FROM messages WHERE octet_length(payload) = 0").fetchall()
    assert {row[0] for row in emptied} == set(old)
    assert count(owner, "messages") == len(old + young + unsure + waiting)
    assert set((await forget_old(system_database)).values()) == {0}


async def test_old_contents_are_found_along_an_index(owner: psycopg.Connection) -> None:
    owner.execute("SET enable_seqscan = off")
    owner.execute("SET enable_bitmapscan = off")
    statement = str(RULES[0].statement).replace(":kept", "'1 day'").replace(":page", "1000")
    plan = "\n".join(row[0] for row in owner.execute(f"EXPLAIN {statement}".encode()))
    assert "idx_messages_shared_payloads" in plan
    assert "Sort" not in plan


async def test_what_log_ins_leave_behind_goes(
    system_database: Database, tenant: SomeTenant, owner: psycopg.Connection
) -> None:
    owner.execute("INSERT INTO people (email, name, password_hash) VALUES ('p@example.net', 'P', 'x')")
    for days in (-1, 0.5, 40):
        owner.execute(
            "INSERT INTO one_time_tokens (token_sha256, person_id, purpose, expires_at)"
            " SELECT sha256(%s), id, 'reset-password', now() - make_interval(secs => %s) FROM people",
            [str(days).encode(), days * 86400],
        )
        owner.execute(
            "INSERT INTO sign_ups (token_sha256, email, name, password_hash, tenant_name, expires_at)"
            " VALUES (sha256(%s), 'q@example.net', 'Q', 'x', 'Q', now() - make_interval(secs => %s))",
            [str(days).encode(), days * 86400],
        )
        owner.execute(
            "INSERT INTO sessions (person_id, expires_at) SELECT id, now() - make_interval(secs => %s) FROM people",
            [days * 86400],
        )
    owner.execute(
        "INSERT INTO suppressions (tenant_id, address, reason, removed_at)"
        " VALUES (%s, 'a@x.example', 'manual', now()), (%s, 'b@x.example', 'manual', NULL)",
        [tenant.id, tenant.id],
    )
    await forget_old(system_database)
    assert count(owner, "one_time_tokens") == 2
    assert count(owner, "sign_ups") == 2
    assert count(owner, "sessions") == 2
    assert owner.execute("SELECT address FROM suppressions").fetchall() == [("b@x.example",)]


async def test_a_suppression_that_comes_back_while_it_is_forgotten_stays(
    system_database: Database, tenant: SomeTenant, owner: psycopg.Connection
) -> None:
    owner.execute(
        "INSERT INTO suppressions (tenant_id, address, reason, removed_at)"
        " VALUES (%s, 'a@x.example', 'manual', now() - interval '1 second')",
        [tenant.id],
    )
    with owner.transaction():
        owner.execute("UPDATE suppressions SET removed_at = NULL")
        forgetting = asyncio.create_task(forget_old(system_database))
        await until_blocked(system_database)
    await forgetting
    assert count(owner, "suppressions") == 1
