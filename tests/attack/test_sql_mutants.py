"""The attacks find what they are for: each mistake that migrations could make is made once, and must be found."""

from collections.abc import Iterator

import psycopg
import pytest

from control_plane.embedded.postgres import OWNER
from tests.attack import sql_attacks
from tests.attack.ground import Ground
from tests.attack.sql_attacks import name_tenant
from tests.attack.test_partitions import unguarded
from tests.attack.test_sql import ATTACKS

MISTAKES = {
    "the policy is dropped": "DROP POLICY one_tenant ON domains",
    "row-level security is off": "ALTER TABLE inboxes DISABLE ROW LEVEL SECURITY",
    "a policy beside it lets all be read": "CREATE POLICY mistake ON messages TO penguin_api USING (true)",
    "a policy lets all be written": ("ALTER POLICY one_tenant ON domains WITH CHECK (true)"),
    "whoever names no tenant sees all": (
        "ALTER POLICY one_tenant ON webhook_endpoints USING (coalesce(current_setting('app.tenant_id', true), '') = ''"
        " OR tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
    ),
    "a view acts for its owner": (
        "CREATE VIEW mistake AS SELECT * FROM domains; GRANT SELECT ON mistake TO penguin_api"
    ),
    "a function acts for its owner": (
        "CREATE FUNCTION mistake(tenant uuid) RETURNS text LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT name FROM tenants WHERE id = tenant'"
    ),
    "a table without a tenant is shown": "GRANT SELECT ON people TO penguin_api",
    "a new table has no policy": (
        "CREATE TABLE mistake AS SELECT tenant_id, id FROM inboxes; GRANT SELECT, INSERT ON mistake TO penguin_api"
    ),
    "a partition has no policy": "ALTER TABLE health_hours_slot_03 DISABLE ROW LEVEL SECURITY",
    "everybody's partition may be read": "GRANT SELECT ON messages_shared TO penguin_api",
    "a foreign key holds no tenant": (
        "ALTER TABLE pauses DROP CONSTRAINT pauses_tenant_id_inbox_id_fkey;"
        "ALTER TABLE pauses ADD FOREIGN KEY (inbox_id) REFERENCES inboxes (id)"
    ),
    "rows may be given away": (
        "GRANT UPDATE (tenant_id) ON domains TO penguin_api; ALTER POLICY one_tenant ON domains WITH CHECK (true)"
    ),
}


def findings(owner: psycopg.Connection, ground: Ground) -> Iterator[str]:
    """Yield what is found as another tenant and as none, in the transaction that holds the mistake."""
    yield from unguarded(owner)
    owner.execute("SET LOCAL ROLE penguin_api")
    for named, own_rows in ((str(ground.attacker.id), 1), ("", 0)):
        name_tenant(owner, named)
        if named:
            yield from sql_attacks.missing_own(owner, ground, ground.attacker)
        for attack in ATTACKS:
            # The session is the owner's, who may be whom they like: only here does climbing lead anywhere.
            if attack is not sql_attacks.climbing:
                yield from attack(owner, ground)
        yield from sql_attacks.changing(owner, ground, own_rows)


def test_without_a_mistake_nothing_is_found(ground: Ground) -> None:
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        assert list(findings(owner, ground)) == []
        owner.rollback()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(ground: Ground, mistake: str) -> None:
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        owner.execute(MISTAKES[mistake].encode())
        assert next(findings(owner, ground), None)
        owner.rollback()
