"""Read the catalogue of the migrated database: no table of tenants' data without its walls."""

from collections.abc import Iterator

import psycopg
import pytest

from control_plane.embedded.postgres import OWNER
from tests.integration.database import cluster_with_template

#: What is the same for all tenants, and read by the API role.
OF_ALL = {"plans"}
#: Tables that hold no tenant's data. The API role may touch none of them but those.
WITHOUT_TENANT = {
    *OF_ALL,
    "alembic_version",
    "alert_channels",
    "alert_groups",
    "alert_notices",
    "alert_silences",
    "backup_results",
    "certificate_authorities",
    "fleet_configurations",
    "healing_forbidden",
    "hubs",
    "kept_answers_to_operators",
    "kept_answers_to_people",
    "key_rotations",
    "log_in_challenges",
    "oidc_identities",
    "one_time_tokens",
    "operator_acts",
    "passkeys",
    "people",
    "platform_data_keys",
    "platform_keys",
    "provider_looks",
    "provider_orders",
    "provider_rate_limits",
    "recovery_codes",
    "refresh_tokens",
    "refused_addresses",
    "releases",
    "security_events",
    "sessions",
    "sign_ups",
    "signing_keys",
    "stray_servers",
    "totp_secrets",
    "upgrades",
}
#: Of a tenant's tables, those that log-in works on across tenants; of the others its role may touch none.
OF_PEOPLE = {"invitations", "memberships", "tenants", "workspaces"}
#: What the API role opens: it checks signatures, which takes the secret itself.
OPENED_BY_API = {"signing_secrets.secret_sealed"}
API, SYSTEM, IDENTITY = "penguin_api", "penguin_system", "penguin_identity"
ONE_TENANT = "({} = (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid)"


@pytest.fixture(scope="module")
def catalogue() -> Iterator[psycopg.Connection]:
    with cluster_with_template() as cluster, psycopg.connect(cluster.url(OWNER)) as connection:
        yield connection


def tables(catalogue: psycopg.Connection) -> dict[str, bool]:
    """Return each table of ours and whether it belongs to tenants."""
    rows = catalogue.execute(
        "SELECT relname, relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid"
        " AND attname = 'tenant_id' AND NOT attisdropped) FROM pg_class c"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    return {name: tenants for name, tenants in rows if not name.startswith("procrastinate_")}


def test_each_table_belongs_to_tenants_or_is_listed_as_belonging_to_none(catalogue: psycopg.Connection) -> None:
    assert {name for name, tenants in tables(catalogue).items() if not tenants} == WITHOUT_TENANT


def test_each_tenant_table_forces_row_level_security(catalogue: psycopg.Connection) -> None:
    forced = {
        row[0] for row in catalogue.execute("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
    }
    assert {name for name, tenants in tables(catalogue).items() if tenants} <= forced


def test_each_tenant_table_has_exactly_its_policies(catalogue: psycopg.Connection) -> None:
    policies: dict[str, set[tuple[object, ...]]] = {}
    for name, *policy in catalogue.execute(
        "SELECT tablename, array_to_string(roles, ','), cmd, permissive, qual, with_check FROM pg_policies"
        " WHERE permissive = 'PERMISSIVE'"
    ):
        policies.setdefault(name, set()).add(tuple(policy))
    for name, tenants in tables(catalogue).items():
        own = ONE_TENANT.format("id" if name == "tenants" else "tenant_id")
        expected = {(API, "ALL", "PERMISSIVE", own, own), (SYSTEM, "ALL", "PERMISSIVE", "true", "true")}
        if name in OF_PEOPLE:
            expected.add((IDENTITY, "ALL", "PERMISSIVE", "true", "true"))
        assert policies.get(name, set()) == (expected if tenants else set()), name


def test_each_table_of_the_api_holds_callers_of_single_workspaces_to_these(catalogue: psycopg.Connection) -> None:
    held = catalogue.execute(
        "SELECT tablename, array_agg(cmd ORDER BY cmd), bool_and(array_to_string(roles, ',') = %s"
        " AND coalesce(qual, with_check) LIKE %s) FROM pg_policies WHERE permissive = 'RESTRICTIVE' GROUP BY tablename",
        [API, "%'app.workspaces'%"],
    )
    policies = {name: commands for name, commands, sound in held if sound}
    open_to_api = "SELECT has_any_column_privilege(%s, %s, 'SELECT, INSERT, UPDATE')"
    reached = {
        name
        for name, tenants in tables(catalogue).items()
        if tenants and catalogue.execute(open_to_api, [API, name]).fetchone() == (True,)
    }
    # Everybody who seals needs the key.
    assert {name: policies.get(name) for name in reached} == {name: ["ALL"] for name in reached} | {
        "tenant_data_keys": None,
        "audit_events": ["SELECT"],
        "tenants": ["UPDATE"],
        "pauses": ["INSERT", "SELECT", "UPDATE"],
    }


def test_triggers_see_the_whole_tenant_whoever_sets_them_off(catalogue: psycopg.Connection) -> None:
    """A limit that counts what its caller sees would be none, and nobody else would be told."""
    narrow = catalogue.execute(
        "SELECT p.proname FROM pg_proc p WHERE p.prorettype = 'trigger'::regtype"
        " AND p.pronamespace = 'public'::regnamespace AND p.proname NOT LIKE 'procrastinate%%'"
        " AND NOT coalesce(%s = ANY (p.proconfig), false)",
        ["app.workspaces="],
    )
    # They read no table, or one row of the caller's own, or what a caller of all tenants deletes.
    assert {name for (name,) in narrow} <= {
        "deeds_stay",
        "hold_named_workspaces",
        "hold_resend_within_reach",
        "notify_ban",
        "notify_server_watch",
        "run_takes_workspace",
        "webhook_secret_moves_aside",
    }


def test_the_roles_cannot_bypass_anything(catalogue: psycopg.Connection) -> None:
    roles = catalogue.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND NOT rolsuper AND NOT rolbypassrls"
        " AND NOT rolcreaterole AND NOT rolcreatedb AND NOT EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)"
        " AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)",
        [[API, SYSTEM, IDENTITY]],
    ).fetchall()
    assert {name for (name,) in roles} == {API, SYSTEM, IDENTITY}


def test_the_api_role_has_nothing_of_what_is_not_its_own(catalogue: psycopg.Connection) -> None:
    reachable = catalogue.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND (has_any_column_privilege('penguin_api', oid, 'SELECT, INSERT, UPDATE, REFERENCES')"
        " OR has_table_privilege('penguin_api', oid, 'DELETE, TRUNCATE, TRIGGER'))"
    )
    closed = {*WITHOUT_TENANT - OF_ALL, "join_tokens", "agent_certificates"}
    assert [name for (name,) in reachable if name in closed or name.startswith("procrastinate_")] == []


def test_the_role_of_log_in_reaches_people_and_who_is_a_member_and_nothing_else(catalogue: psycopg.Connection) -> None:
    reachable = catalogue.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND (has_any_column_privilege('penguin_identity', oid, 'SELECT, INSERT, UPDATE, REFERENCES')"
        " OR has_table_privilege('penguin_identity', oid, 'DELETE, TRUNCATE, TRIGGER'))"
    )
    people = {"people", "sign_ups", "sessions", "refresh_tokens", "one_time_tokens", "totp_secrets", "recovery_codes"}
    people |= {"passkeys", "log_in_challenges", "oidc_identities", "security_events", "kept_answers_to_people"}
    assert {name for (name,) in reachable} == OF_PEOPLE | people | {"signing_keys", "platform_data_keys"}


def test_the_api_role_deletes_nothing_and_reads_no_secret_but_of_signatures(catalogue: psycopg.Connection) -> None:
    deletable = catalogue.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND has_table_privilege('penguin_api', oid, 'DELETE')"
    ).fetchall()
    assert deletable == []
    readable = catalogue.execute(
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
        " AND (a.attname LIKE '%sealed%' OR a.attname LIKE '%password%')"
        " AND has_column_privilege('penguin_api', c.oid, a.attnum, 'SELECT')"
    ).fetchall()
    assert {name for (name,) in readable} == OPENED_BY_API


def test_views_and_functions_do_not_act_for_their_owner(catalogue: psycopg.Connection) -> None:
    views = catalogue.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
        " AND NOT coalesce(reloptions, '{}') @> '{security_invoker=true}'"
    ).fetchall()
    functions = catalogue.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
    ).fetchall()
    assert (views, functions) == ([], [])
