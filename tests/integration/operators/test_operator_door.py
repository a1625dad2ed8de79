"""The operators' application as a whole: its contract, and its process."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from control_plane.operators.scopes import OperatorScope
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings
from db.session import Database, UnsafeRole
from tests.integration.operators.door import make_key, operator_client
from tests.integration.rest import problem

OPENAPI = "http://penguin.test/openapi.json"
SCOPES = {
    "GET /operator/v1/queue": "queue:read",
    "GET /operator/v1/queue/pauses": "queue:read",
    "POST /operator/v1/queue/pauses": "queue:write",
    "DELETE /operator/v1/queue/pauses/{pause_id}": "queue:write",
    "GET /operator/v1/queue/dead": "queue:read",
    "GET /operator/v1/queue/dead/{send_id}": "queue:read",
    "POST /operator/v1/queue/dead/{send_id}:retry": "queue:write",
    "POST /operator/v1/queue/dead/{send_id}:drop": "queue:write",
    "GET /operator/v1/fleet": "fleet:read",
    "GET /operator/v1/fleet/health": "fleet:read",
    "GET /operator/v1/alerts": "alerts:read",
    "POST /operator/v1/alerts/{alert_id}:acknowledge": "alerts:write",
    "GET /operator/v1/alerts/silences": "alerts:read",
    "POST /operator/v1/alerts/silences": "alerts:write",
    "DELETE /operator/v1/alerts/silences/{silence_id}": "alerts:write",
    "GET /operator/v1/alerts/channels": "alerts:read",
    "POST /operator/v1/alerts/channels": "alerts:write",
    "DELETE /operator/v1/alerts/channels/{name}": "alerts:write",
    "POST /operator/v1/alerts/channels/{name}:test": "alerts:write",
    "GET /operator/v1/orphans": "fleet:read",
    "GET /operator/v1/acts": "acts:read",
    "GET /operator/v1/prometheus/targets": "fleet:read",
    "GET /operator/v1/metrics/fleet": "fleet:read",
    "GET /operator/v1/releases": "fleet:read",
    "GET /operator/v1/fleet/upgrades": "fleet:read",
    "POST /operator/v1/fleet/upgrades": "fleet:write",
    "GET /operator/v1/fleet/upgrades/{upgrade_id}": "fleet:read",
    "POST /operator/v1/fleet/upgrades/{upgrade_id}:apply": "fleet:write",
    "POST /operator/v1/fleet/upgrades/{upgrade_id}:abort": "fleet:write",
    "GET /operator/v1/fleet/upgrades/{upgrade_id}/differences": "fleet:read",
    "GET /operator/v1/fleet/settings": "fleet:read",
    "POST /operator/v1/fleet/settings:plan": "fleet:write",
    "POST /operator/v1/fleet/packages:plan": "fleet:write",
    "POST /operator/v1/vps/{vps_id}/commands": "commands:delete or commands:hold or commands:look or commands:restore"
    " or commands:rotate-key or commands:run",
    "GET /operator/v1/vps/{vps_id}/commands/{command_id}": "fleet:read",
    "GET /operator/v1/vps/{vps_id}/healing": "fleet:read",
    "POST /operator/v1/fleet/healing:forbid": "fleet:write",
    "POST /operator/v1/fleet/healing:allow": "fleet:write",
    "GET /operator/v1/tenants": "tenants:read",
    "GET /operator/v1/tenants/{tenant_id}": "tenants:read",
    "POST /operator/v1/tenants/{tenant_id}:erase": "tenants:erase",
    "GET /operator/v1/tenants/{tenant_id}/mail-backups": "tenants:read",
    "PUT /operator/v1/tenants/{tenant_id}/mail-backups": "backups:write",
    "DELETE /operator/v1/tenants/{tenant_id}/mail-backups": "backups:write",
}
#: What a route must be sent to be asked at all.
BODIES = {
    "POST /operator/v1/queue/pauses": {"subject": "priority", "of": "low"},
    "POST /operator/v1/fleet/upgrades": {"release": "1"},
    "POST /operator/v1/fleet/settings:plan": {"settings": {"smtp_connect_timeout": "20"}},
    "POST /operator/v1/fleet/packages:plan": {"packages": {"postfix": ["1"]}},
    "PUT /operator/v1/tenants/{tenant_id}/mail-backups": {"repository": "/mnt/backups"},
    "POST /operator/v1/vps/{vps_id}/commands": {"kind": "flush"},
    "POST /operator/v1/fleet/healing:forbid": {"reason": "why"},
    "POST /operator/v1/fleet/healing:allow": {"reason": "why"},
    "POST /operator/v1/alerts/silences": {"rule": "disk", "until": "2100-01-01T00:00:00Z", "reason": "why"},
    "POST /operator/v1/alerts/channels": {"name": "pager", "kind": "webhook", "url": "https://pager.example/"},
}


async def operations(app: FastAPI) -> dict[str, dict[str, Any]]:
    async with operator_client(app, None) as client:
        paths = (await client.get(OPENAPI)).json()["paths"]
    return {f"{method.upper()} {path}": each for path, methods in paths.items() for method, each in methods.items()}


async def test_openapi_names_each_route_with_its_scope(operators_app: FastAPI) -> None:
    found = {name: each.get("x-scope") for name, each in (await operations(operators_app)).items()}
    assert found == {"GET /healthz": None, **SCOPES}


async def test_each_route_asks_for_a_key_and_for_its_scope(operators_app: FastAPI, system_database: Database) -> None:
    for name, scope in SCOPES.items():
        method, path = name.split()
        concrete = "http://penguin.test" + re.sub("{.*?}", "01934d3a-7f10-7a2b-8c3d-4e5f60718293", path)
        body = BODIES.get(name)
        others = await make_key(system_database, "others", set(OperatorScope) - set(scope.split(" or ")))
        async with operator_client(operators_app, None) as client:
            problem(await client.request(method, concrete, json=body), 401, "unauthenticated")
        async with operator_client(operators_app, others.key) as client:
            refusal = problem(await client.request(method, concrete, json=body), 403, "forbidden")
        assert f"the scope {scope};" in refusal["detail"]


async def test_each_body_and_each_answer_has_an_example_that_fits_it(operators_app: FastAPI) -> None:
    async with operator_client(operators_app, None) as client:
        document = (await client.get(OPENAPI)).json()
    schemas = document["components"]["schemas"]
    for name, operation in (await operations(operators_app)).items():
        if name == "GET /healthz":
            continue
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        answers = [answer for status, answer in operation["responses"].items() if status.startswith("20")]
        for content in (each["content"] for each in (*bodies, *answers) if "content" in each):
            if "application/json" not in content:
                assert all(each["example"] for each in content.values()), name
                continue
            reference = re.search(r"#/components/schemas/(\w+)", str(content))
            assert reference, name
            schema = schemas[reference[1]]
            assert set(schema["example"]) <= set(schema["properties"]), name
            assert set(schema.get("required", [])) <= set(schema["example"]), name


async def test_healthz_needs_no_key(operators_app: FastAPI) -> None:
    async with operator_client(operators_app, None) as client:
        assert (await client.get("http://penguin.test/healthz")).json() == {"status": "ok"}


async def test_the_application_does_not_start_with_a_role_that_could_bypass_the_policies(
    rest_settings: Settings, owner_url: str
) -> None:
    app = make_operators_app(Settings.model_validate(rest_settings.model_dump() | {"system_database_url": owner_url}))
    with pytest.raises(UnsafeRole):
        async with app.router.lifespan_context(app):
            pass


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        yield opened


@pytest.mark.parametrize("body", ['{"reason": "one", "reason": "two"}', '{"reason": NaN}'])
async def test_json_is_strict(operator: httpx.AsyncClient, body: str) -> None:
    answer = await operator.post("queue/pauses", content=body, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid-input")
    assert "comes twice" in answer.text or "NaN is no JSON" in answer.text


@pytest.fixture
def process(rest_settings: Settings, listener: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "PENGUIN_STATE_DIR": str(rest_settings.state_dir),
        "PENGUIN_SYSTEM_DATABASE_URL": rest_settings.system_database_url.get_secret_value(),
        "PENGUIN_REST_FDS": str(listener.fileno()),
    }
    command = [sys.executable, "-m", "control_plane.processes.operators"]
    with subprocess.Popen(command, env=environment, pass_fds=[listener.fileno()]) as started:
        yield started
        started.kill()


async def test_the_process_serves_on_an_inherited_socket_and_ends_when_told(
    process: subprocess.Popen[bytes], listener: socket.socket, system_database: Database
) -> None:
    made = await make_key(system_database, "on call", OperatorScope)
    # The request waits in the socket's backlog until the process takes it.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
        answer = await client.get("/operator/v1/fleet", headers={"Authorization": f"Bearer {made.key}"})
        assert answer.json() == {"items": [], "next": None}
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in {0, -signal.SIGTERM}
