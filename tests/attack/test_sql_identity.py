"""What the role of log-in sees and writes of tenants: who is a member of which, and nothing else."""

import uuid

import psycopg
import pytest

from tests.attack import sql_attacks
from tests.attack.ground import Ground
from tests.attack.sql_attacks import _with_right, name_tenant

IDENTITY = "penguin_identity"
#: It works across tenants by design; these columns of theirs are all that there is for it.
SEES = {
    "tenants": {"id", "name", "state"},
    "workspaces": {"id", "tenant_id"},
    "memberships": {"id", "tenant_id", "person_id", "role", "created_at", "ended_at", "workspaces"},
    "invitations": {
        *("id", "tenant_id", "email", "role", "token_sha256", "invited_by", "created_at", "expires_at", "accepted_at"),
        *("revoked_at", "workspaces"),
    },
}
CHANGES = {"invitations": {"accepted_at"}, "memberships": {"workspaces"}}
ADDS = {
    "tenants": {"id", "name"},
    "workspaces": {"id", "tenant_id", "name"},
    "memberships": {"id", "tenant_id", "person_id", "role", "workspaces"},
}


def of_tenants(connection: psycopg.Connection, ground: Ground, right: str) -> dict[str, set[str]]:
    return {
        name: set(columns)
        for name, columns in _with_right(connection, right)
        if name not in ground.catalogue.columns or ground.catalogue.of_tenants(name)
    }


def test_it_has_no_right_on_tenants_rows_but_those_of_log_in(ground: Ground) -> None:
    with ground.as_role(IDENTITY) as connection:
        assert of_tenants(connection, ground, "SELECT") == SEES
        assert of_tenants(connection, ground, "UPDATE") == CHANGES
        assert of_tenants(connection, ground, "INSERT") == ADDS


@pytest.mark.parametrize("named", ["another tenant", "none"])
def test_it_moves_nothing_and_becomes_nobody_else(ground: Ground, named: str) -> None:
    before = ground.sums_of(ground.victim)
    with ground.as_role(IDENTITY) as connection:
        name_tenant(connection, str(ground.attacker.id) if named == "another tenant" else None)
        found = [
            *sql_attacks.moving(connection, ground),
            *sql_attacks.climbing(connection, ground),
            *sql_attacks.locking(connection, ground, DELETES),
        ]
    assert found == []
    assert ground.sums_of(ground.victim) == before


#: What people hold once, what ends with a person's act, and what was begun in vain.
DELETES = {
    *("sign_ups", "one_time_tokens", "recovery_codes", "totp_secrets", "signing_keys"),
    *("passkeys", "log_in_challenges", "kept_answers_to_people"),
}


def test_nobody_becomes_a_member_of_another_tenant_by_the_api_role(ground: Ground) -> None:
    with ground.as_role("penguin_api") as connection:
        name_tenant(connection, str(ground.attacker.id))
        person = ground.attacker.values["people", "id"]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(
                "INSERT INTO memberships (id, tenant_id, person_id, role) VALUES (%s, %s, %s, 'owner')",
                [uuid.uuid4(), ground.victim.id, person],
            )
