import re
from pathlib import Path

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from control_plane.rest.access import Open
from control_plane.rest.app import make_app
from control_plane.settings import Settings
from db.session import Database, UnsafeRole
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.rest import client_of, problem

HELLO = {"to": "anna@example.net", "subject": "Hello", "text": "Hello Anna\n"}
HEALTHZ, OPENAPI = "http://penguin.test/healthz", "http://penguin.test/openapi.json"


async def test_an_unknown_path_is_a_problem(rest_client: httpx.AsyncClient) -> None:
    problem(await rest_client.get("nowhere"), 404, "not-found")


async def test_a_wrong_method_is_a_problem_that_says_the_right_one(rest_client: httpx.AsyncClient) -> None:
    answer = await rest_client.put("messages/01934d3a-7f10-7a2b-8c3d-4e5f60718293")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET"


@pytest.mark.parametrize("path", ["messages/1", "inboxes/x", "vps/%00", "inboxes/none/messages"])
async def test_an_id_that_is_none_names_nothing(rest_client: httpx.AsyncClient, path: str) -> None:
    answer = await (rest_client.post(path, json=HELLO) if path.endswith("messages") else rest_client.get(path))
    problem(answer, 404, "not-found")


async def test_a_wrong_query_is_refused_by_name(rest_client: httpx.AsyncClient) -> None:
    body = problem(await rest_client.get("messages?limit=0&state=x"), 422, "invalid-input")
    assert {part["pointer"] for part in body["errors"]} == {"query/limit", "query/state"}


async def test_each_answer_has_a_name_of_its_own(rest_client: httpx.AsyncClient, tenant: SomeTenant) -> None:
    path = f"workspaces/{tenant.workspace_id}/vps"
    names = {(await rest_client.get(path)).headers["x-request-id"] for _ in range(3)}
    assert len(names) == 3


async def test_a_database_that_is_away_is_said_with_when_to_come_again(
    rest_settings: Settings, tenant: SomeTenant, tmp_path: Path
) -> None:
    away = rest_settings.model_dump() | {"api_database_url": f"postgresql://penguin_api@/penguin?host={tmp_path}"}
    app = make_app(Settings.model_validate(away))
    async with client_of(app, tenant.api_key) as client:
        for path in (HEALTHZ, f"workspaces/{tenant.workspace_id}/vps"):
            answer = await client.get(path)
            problem(answer, 503, "unavailable")
            assert int(answer.headers["retry-after"]) > 0


async def test_after_the_database_was_restarted_requests_succeed_again(
    rest_client: httpx.AsyncClient, system_database: Database, owner_url: str, tenant: SomeTenant
) -> None:
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    path = f"inboxes/{inbox.id}/messages"
    assert (await rest_client.post(path, json=HELLO)).status_code == 202
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'penguin_api'")
    problem(await rest_client.post(path, json=HELLO), 503, "unavailable")
    assert (await rest_client.post(path, json=HELLO)).status_code == 202


async def test_the_application_does_not_start_with_a_role_that_could_bypass_the_policies(
    rest_settings: Settings, owner_url: str
) -> None:
    app = make_app(Settings.model_validate(rest_settings.model_dump() | {"api_database_url": owner_url}))
    with pytest.raises(UnsafeRole):
        async with app.router.lifespan_context(app):
            pass


async def test_healthz_needs_no_key(rest_app: FastAPI) -> None:
    async with client_of(rest_app, None) as client:
        assert (await client.get(HEALTHZ)).json() == {"status": "ok"}


async def test_openapi_is_served_and_names_the_documented_paths(rest_app: FastAPI) -> None:
    async with client_of(rest_app, None) as client:
        paths = (await client.get(OPENAPI)).json()["paths"]
    assert {path: sorted(methods) for path, methods in paths.items()} == {
        "/healthz": ["get"],
        "/api/v1/workspaces/{workspace_id}/vps": ["get", "post"],
        "/api/v1/vps/{vps_id}": ["delete", "get", "patch"],
        "/api/v1/vps/{vps_id}/commands/{command_id}": ["get"],
        "/api/v1/vps/{vps_id}/logs": ["get"],
        "/api/v1/vps/{vps_id}/mail-server/restart": ["post"],
        "/api/v1/vps/{vps_id}/runs": ["get"],
        "/api/v1/vps/{vps_id}/certificate:renew": ["post"],
        "/api/v1/vps/{vps_id}/power": ["post"],
        "/api/v1/vps/{vps_id}/rebuild": ["post"],
        "/api/v1/vps/{vps_id}/drain": ["post"],
        "/api/v1/vps/{vps_id}/undrain": ["post"],
        "/api/v1/vps/{vps_id}/mail-backups": ["get"],
        "/api/v1/vps/{vps_id}/mail-backups:run": ["post"],
        "/api/v1/vps/{vps_id}/preflight": ["get", "post"],
        "/api/v1/vps/{vps_id}/health": ["get"],
        "/api/v1/vps/{vps_id}/addresses": ["get", "post"],
        "/api/v1/vps/{vps_id}/addresses/{address_id}": ["delete", "get"],
        "/api/v1/vps/{vps_id}/health/reports": ["get"],
        "/api/v1/vps/{vps_id}/runs/{run_id}/resume": ["post"],
        "/api/v1/workspaces/{workspace_id}/inboxes": ["get", "post"],
        "/api/v1/workspaces/{workspace_id}/ip-pools": ["get", "post"],
        "/api/v1/workspaces/{workspace_id}/ip-pools/{pool_id}": ["delete", "get", "patch"],
        "/api/v1/inboxes/{inbox_id}": ["delete", "get", "patch"],
        "/api/v1/inboxes/{inbox_id}/aliases": ["get", "post"],
        "/api/v1/inboxes/{inbox_id}/aliases/{alias_id}": ["delete"],
        "/api/v1/inboxes/{inbox_id}/client-settings": ["get"],
        "/api/v1/inboxes/{inbox_id}/password": ["put"],
        "/api/v1/inboxes/{inbox_id}/password:rotate": ["post"],
        "/api/v1/inboxes/{inbox_id}/dns-records": ["get"],
        "/api/v1/inboxes/{inbox_id}/dns-records/plan": ["get"],
        "/api/v1/inboxes/{inbox_id}/dns-records/repair": ["post"],
        "/api/v1/inboxes/{inbox_id}/dns-records/verify": ["post"],
        "/api/v1/inboxes/{inbox_id}/move": ["post"],
        "/api/v1/inboxes/{inbox_id}/messages": ["get", "post"],
        "/api/v1/inboxes/{inbox_id}/messages:batch": ["post"],
        "/api/v1/domains": ["get", "post"],
        "/api/v1/domains/{domain_id}": ["delete", "get", "patch"],
        "/api/v1/domains/{domain_id}/dkim:rotate": ["post"],
        "/api/v1/domains/{domain_id}/publisher": ["delete", "get", "put"],
        "/api/v1/messages": ["get"],
        "/api/v1/messages/{message_id}": ["delete", "get"],
        "/api/v1/messages/{message_id}/resend": ["post"],
        "/api/v1/queue": ["get"],
        "/api/v1/api-keys": ["get", "post"],
        "/api/v1/api-keys/{key_id}": ["delete", "get"],
        "/api/v1/queue/pauses": ["post"],
        "/api/v1/queue/pauses/{pause_id}": ["delete"],
        "/api/v1/fleet/health": ["get"],
        "/api/v1/auth/sign-up": ["post"],
        "/api/v1/auth/verify-email": ["post"],
        "/api/v1/auth/login": ["post"],
        "/api/v1/auth/login/second-step": ["post"],
        "/api/v1/auth/refresh": ["post"],
        "/api/v1/auth/switch": ["post"],
        "/api/v1/auth/logout": ["post"],
        "/api/v1/auth/leave": ["post"],
        "/api/v1/auth/me": ["get"],
        "/api/v1/auth/sessions": ["get"],
        "/api/v1/auth/events": ["get"],
        "/api/v1/auth/sessions/{session_id}": ["delete"],
        "/api/v1/auth/password/forgot": ["post"],
        "/api/v1/auth/password/reset": ["post"],
        "/api/v1/auth/password/change": ["post"],
        "/api/v1/auth/login/passkey:begin": ["post"],
        "/api/v1/auth/login/passkey:finish": ["post"],
        "/api/v1/auth/login/second-step/passkey:begin": ["post"],
        "/api/v1/auth/login/second-step/passkey:finish": ["post"],
        "/api/v1/auth/oidc/{issuer}": ["get"],
        "/api/v1/auth/oidc/{issuer}/callback": ["get"],
        "/api/v1/auth/passkeys": ["get"],
        "/api/v1/auth/passkeys:begin": ["post"],
        "/api/v1/auth/passkeys:finish": ["post"],
        "/api/v1/auth/passkeys/{passkey_id}/remove": ["post"],
        "/api/v1/auth/totp": ["post"],
        "/api/v1/auth/totp/confirm": ["post"],
        "/api/v1/auth/totp/disable": ["post"],
        "/api/v1/auth/invitations/accept": ["post"],
        "/api/v1/auth/jwks.json": ["get"],
        "/api/v1/members": ["get"],
        "/api/v1/members/{member_id}": ["delete", "get", "patch"],
        "/api/v1/invitations": ["get", "post"],
        "/api/v1/invitations/{invitation_id}": ["delete", "get"],
        "/api/v1/data-subjects:export": ["post"],
        "/api/v1/data-subjects:erase": ["post"],
        "/api/v1/data-subjects/erasures/{erasure_id}": ["get"],
        "/api/v1/suppressions": ["get", "post"],
        "/api/v1/suppressions/{suppression_id}": ["delete", "get"],
        "/api/v1/tenant": ["get", "patch"],
        "/api/v1/tenant/mail-backups": ["delete", "get", "put"],
        "/api/v1/workspaces": ["get", "post"],
        "/api/v1/workspaces/{workspace_id}": ["delete", "get", "patch"],
        "/api/v1/usage": ["get"],
        "/api/v1/audit": ["get"],
        "/api/v1/events": ["get"],
        "/api/v1/notices": ["get"],
        "/api/v1/events/{event_id}": ["get"],
        "/api/v1/webhooks": ["get", "post"],
        "/api/v1/webhooks/{webhook_id}": ["delete", "get", "patch"],
        "/api/v1/webhooks/{webhook_id}:ping": ["post"],
        "/api/v1/webhooks/{webhook_id}:replay": ["post"],
        "/api/v1/webhooks/{webhook_id}:rotate": ["post"],
        "/api/v1/webhooks/{webhook_id}/deliveries": ["get"],
        "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}:replay": ["post"],
    }


async def test_what_openapi_refers_to_is_there(rest_app: FastAPI) -> None:
    async with client_of(rest_app, None) as client:
        answer = await client.get(OPENAPI)
    references = set(re.findall(r'"\$ref":"([^"]+)"', answer.text.replace(" ", "")))
    kinds = answer.json()["components"].items()
    known = {f"#/components/{kind}/{name}" for kind, named in kinds for name in named}
    assert references
    assert references <= known


async def test_each_route_of_the_api_asks_for_a_key(rest_app: FastAPI, tenant: SomeTenant) -> None:
    bodies = {
        "/api/v1/workspaces/{workspace_id}/vps": {"provider": "local", "size": "small"},
        "/api/v1/workspaces/{workspace_id}/inboxes": {"email_address": "a@b.example"},
        "/api/v1/inboxes/{inbox_id}": {"warmup_enabled": True},
        "/api/v1/inboxes/{inbox_id}/messages": HELLO,
        "/api/v1/inboxes/{inbox_id}/messages:batch": {"messages": [HELLO]},
    }
    async with client_of(rest_app, None) as client:
        paths = (await client.get(OPENAPI)).json()["paths"]
        del paths["/healthz"]
        for path, methods in paths.items():
            concrete = f"http://penguin.test{re.sub('{.*?}', str(tenant.workspace_id), path)}"
            for method, operation in methods.items():
                if operation["x-permission"] == Open.ANYBODY.value:
                    assert "security" not in operation
                    continue
                problem(await client.request(method, concrete, json=bodies.get(path)), 401, "unauthenticated")
                assert operation["security"] == [{"HTTPBearer": []}]
