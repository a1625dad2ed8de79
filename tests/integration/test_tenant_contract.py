"""The contract that tenants were promised: each path is there, takes what is documented, and answers with it.

The paths and fields of the first part are those of the product's technical documentation, which writes `:inboxId` where
OpenAPI has `{inbox_id}`; the others are what its users expect beside it.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from control_plane.rest.app import make_app
from control_plane.settings import Settings


@dataclass(frozen=True, slots=True)
class Promise:
    """An operation, what it takes in its body or parameters, and what its answer or each thing of a list shows."""

    operation: str
    takes: frozenset[str] = field(default_factory=frozenset)
    shows: frozenset[str] = field(default_factory=frozenset)


def promise(operation: str, takes: str = "", shows: str = "") -> Promise:
    return Promise(operation, frozenset(takes.split()), frozenset(shows.split()))


_INBOX = "id workspace_id email_address display_name vps_id smtp_config imap_config warmup_enabled warmup_status"
_INBOX += " daily_send_limit reputation_score status created_at updated_at"
_SERVER = "id provider ip_address hostname specs status mail_server_status ssl_certificate_expires monitoring_enabled"
_SERVER += " monthly_cost created_at"
_MESSAGE = "id inbox_id message_id recipient subject state accepted_at final_at"

DOCUMENTED = [
    promise(
        "POST /workspaces/{workspace_id}/inboxes",
        takes="email_address display_name vps_provider vps_size",
        shows=_INBOX + " password",
    ),
    promise("GET /inboxes/{inbox_id}", shows=_INBOX),
    promise("PATCH /inboxes/{inbox_id}", takes="daily_send_limit warmup_enabled quota_mb", shows=_INBOX + " quota_mb"),
    promise("DELETE /inboxes/{inbox_id}"),
    promise("GET /inboxes/{inbox_id}/dns-records", shows="records all_verified"),
    promise("POST /inboxes/{inbox_id}/dns-records/verify", shows="records all_verified"),
    promise("POST /workspaces/{workspace_id}/vps", takes="provider size region", shows=_SERVER),
    promise("GET /vps/{vps_id}", shows=_SERVER),
    promise("POST /vps/{vps_id}/mail-server/restart"),
    promise("GET /vps/{vps_id}/logs", takes="lines", shows="lines"),
]
EXPECTED = [
    promise("GET /tenant", shows="id name state plan created_at"),
    promise("PATCH /tenant", takes="name", shows="id name"),
    promise("GET /workspaces", takes="after limit fields", shows="id name created_at"),
    promise("POST /workspaces", takes="name", shows="id name created_at"),
    promise("GET /workspaces/{workspace_id}", takes="fields", shows="id name created_at"),
    promise("PATCH /workspaces/{workspace_id}", takes="name If-Match", shows="id name created_at"),
    promise("DELETE /workspaces/{workspace_id}"),
    promise("GET /workspaces/{workspace_id}/inboxes", takes="status email_address after limit fields", shows=_INBOX),
    promise("POST /inboxes/{inbox_id}/password:rotate", takes="Idempotency-Key", shows="password"),
    promise("PUT /inboxes/{inbox_id}/password", takes="password"),
    promise("GET /inboxes/{inbox_id}/aliases", takes="after limit fields", shows="id inbox_id email_address"),
    promise("POST /inboxes/{inbox_id}/aliases", takes="email_address Idempotency-Key", shows="id email_address"),
    promise("DELETE /inboxes/{inbox_id}/aliases/{alias_id}"),
    promise("GET /inboxes/{inbox_id}/client-settings", shows="username imap smtp"),
    promise("GET /workspaces/{workspace_id}/vps", takes="status provider after limit", shows=_SERVER),
    promise("GET /domains", takes="name after limit fields", shows="id name created_at"),
    promise("GET /domains/{domain_id}", shows="id name dkim_keys"),
    promise(
        "POST /inboxes/{inbox_id}/messages", takes="to subject text html headers priority send_at", shows="id state"
    ),
    promise(
        "GET /messages",
        takes="state inbox recipient subject created_after created_before after limit fields",
        shows=_MESSAGE,
    ),
    promise("GET /messages/{message_id}", shows=_MESSAGE + " timeline"),
    promise("DELETE /messages/{message_id}", shows="state"),
    promise("POST /messages/{message_id}/resend", shows="id state"),
    promise("GET /webhooks"),
    promise("GET /events", takes="after limit", shows="id type subject_id at data"),
    promise("GET /members", takes="role after limit", shows="id email role"),
    promise("GET /members/{member_id}", takes="fields If-None-Match", shows="id email role"),
    promise("PATCH /members/{member_id}", takes="role workspaces If-Match", shows="id email role"),
    promise("GET /invitations", shows="id email role"),
    promise("GET /api-keys", shows="id name prefix scopes"),
    promise("GET /usage", shows="plan limits"),
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """The tenants' door, shut: what it says of itself needs no database."""
    url = "postgresql://nobody@nowhere/penguin"
    state = {"state_dir": tmp_path_factory.mktemp("door"), "api_database_url": url, "identity_database_url": url}
    return make_app(Settings.model_validate(state))


@pytest.mark.parametrize("promised", DOCUMENTED + EXPECTED, ids=lambda promised: promised.operation)
def test_what_was_promised_is_in_openapi(door: FastAPI, promised: Promise) -> None:
    document = door.openapi()
    method, _, path = promised.operation.partition(" ")
    operation = document["paths"][f"/api/v1{path}"][method.lower()]
    assert promised.takes <= taken(document, operation)
    assert promised.shows <= shown(document, operation)


def taken(document: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """Return the names of the parameters and of the body's fields."""
    names = {each["name"] for each in operation.get("parameters", [])}
    if "requestBody" in operation:
        names |= fields_of(document, operation["requestBody"]["content"]["application/json"]["schema"])
    return names


def shown(document: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """Return the names of the fields of the answer when all went well; of a page's things, where it is one."""
    names: set[str] = set()
    for status, answer in operation["responses"].items():
        if status.startswith("2") and "content" in answer:
            names |= fields_of(document, answer["content"]["application/json"]["schema"])
    return names


def fields_of(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    resolved = resolve(document, schema)
    properties = resolved.get("properties", {})
    if "items" in properties and properties["items"].get("type") == "array":
        return fields_of(document, properties["items"]["items"])
    return set(properties)


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a reference leads to, or the first of several."""
    while "$ref" in schema or "anyOf" in schema:
        if "anyOf" in schema:
            schema = schema["anyOf"][0]
        else:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema
