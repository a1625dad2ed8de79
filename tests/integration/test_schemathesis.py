"""Send the doors all that schemathesis can think of, over real connections, and hold the answers to the schema.

The run is the same each time: one seed, so many examples. What a schema cannot say (an address, a code in force, a
URL that is public) is refused with 422; that such an answer names the part that is wrong is a check of our own.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from limits import RateLimitItemPerMinute
from pydantic import SecretStr
from requests.auth import AuthBase
from schemathesis import Case, CheckContext, GenerationMode, HookContext, Response
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder
from schemathesis.specs.openapi.schemas import OpenApiSchema

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.operators.scopes import OperatorScope
from control_plane.rest import limited_requests
from control_plane.rest.app import make_app
from control_plane.rest.auth import bodies
from control_plane.rest.operators.app import make_operators_app
from control_plane.rest.rates import RATES, Rates
from control_plane.rest.ses.app import PREFIX as SES_PREFIX
from control_plane.rest.ses.app import make_ses_app
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_sends, make_server
from tests.integration.operators.door import make_key
from tests.integration.served import served

SEED = 20_261_122
#: Beside what is right always: a precondition that was written for nothing is not met, and a 422 says why. No schema
#: says which cursors there are: only that may be a 400.
POSITIVE = ["2xx", "3xx", "400", "401", "403", "404", "409", "412", "422"]
NO_CURSOR = "/problems/invalid-cursor"
NEGATIVE = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422"]
#: Problems that tell of the whole request and no part of it.
WITHOUT_PARTS = {"/problems/idempotency-key-reused"}


@schemathesis.check
def a_refusal_names_the_part(_: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """Fail for a 422 that does not say what is wrong, and for an error without the problem that tells of it."""
    if response.status_code < 400:
        return None
    problem = response.json()
    if response.status_code == 422 and problem["type"] not in WITHOUT_PARTS and not problem.get("errors"):
        raise AssertionError(f"422 names no part: {problem['detail']}")
    if response.status_code == 400 and _is_fit(case) and problem.get("type", NO_CURSOR) != NO_CURSOR:
        raise AssertionError(f"400 to what fits the schema: {problem['detail']}")
    return None


def _is_fit(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def findings(url: str, key: str, examples: int) -> list[str]:
    """Return what schemathesis finds, one line for each operation and kind."""
    config = config_of(examples, {"headers": {"Authorization": f"Bearer {key}"}})
    return findings_in(schemathesis.openapi.from_url(f"{url}/openapi.json", config=config))


def config_of(examples: int, more: dict[str, Any]) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            **more,
            "seed": SEED,
            "continue-on-failure": True,
            "workers": 1,
            "generation": {"deterministic": True, "max-examples": examples, "database": "none", "no-shrink": True},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": POSITIVE},
                "negative_data_rejection": {"expected-statuses": NEGATIVE},
            },
            # Each method that a path does not have is refused by the same few lines: one stands for all.
            "phases": {"coverage": {"unexpected-methods": ["OPTIONS"]}, "stateful": {"max-steps": 4}},
        }
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run came to: what is wrong, and which operations answered with success."""

    findings: list[str]
    succeeded: set[str]


def findings_in(schema: OpenApiSchema) -> list[str]:
    return run(schema).findings


def run(schema: OpenApiSchema) -> Seen:
    schema.config.checks.update(included_check_names=["all"])
    found: set[str] = set()
    operations, succeeded = set(), set()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            operations.add(event.label)
            succeeded |= set(successes_of(event.recorder))
            found |= set(failures_of(event.recorder))
        elif isinstance(event, NonFatalError):
            found.add(f"{event.label}: {event.value!r}")
    assert len(operations) >= schema.statistic.operations.selected
    return Seen(sorted(found), succeeded)


def successes_of(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None and interaction.response.status_code < 300:
            yield recorder.cases[case_id].value.operation.label


def failures_of(recorder: ScenarioRecorder) -> Iterator[str]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.status is Status.FAILURE and check.failure_info is not None:
                label = recorder.cases[case_id].value.operation.label
                failure = check.failure_info.failure
                yield f"{label}: {failure.title}: {failure.message} {check.failure_info.code_sample}"


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    """An inbox with something to look at."""
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    await make_sends(system_database, inbox, 3)
    return inbox


@pytest.fixture
def settings(
    rest_settings: Settings, redis_server: EmbeddedRedis, inbox: SomeInbox, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings with all parts there: letters leave by the inbox. Requests are counted, and there may be many."""
    Sealer.of_file(rest_settings.sealing_key_file)
    many = RateLimitItemPerMinute(10**9)
    monkeypatch.setattr(limited_requests, "RATES", dict.fromkeys(RATES, Rates(many, many, many)))
    for attempts in ("LOGINS_OF_ACCOUNT", "LOGINS_OF_ADDRESS"):
        monkeypatch.setattr(bodies, attempts, many)
    here = {"redis_url": SecretStr(redis_server.url), "mail_inbox": f"{inbox.tenant.id}/{inbox.id}"}
    return rest_settings.model_copy(update=here)


@pytest.mark.timeout(600)
def test_the_tenants_door_holds_what_its_schema_says(settings: Settings, tenant: SomeTenant) -> None:
    with served(make_app(settings)) as url:
        assert findings(url, tenant.api_key, examples=3) == []


@dataclass(frozen=True, slots=True)
class Signs(AuthBase):
    """Signs requests as AWS clients do."""

    credentials: Credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature to a request that is about to be sent."""
        signed = AWSRequest(request.method, request.url, data=request.body or b"")
        SigV4Auth(self.credentials, "ses", "eu-central-1").add_auth(signed)
        request.headers.update(signed.headers)
        return request


class Sendable:
    """Makes what fits the schema into what can be sent: what no schema can say is where mail is from and may go to.

    Of two orders one keeps all else that was thought of, and the other has a plain text.
    """

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._plain = cycle((True, False))

    def __call__(self, _: HookContext, case: Case[Any]) -> Case[Any]:
        """Change a case that fits; one that is to be refused stays."""
        if _is_fit(case) and isinstance(case.body, dict):
            case.body = self._bulk(case.body) if "DefaultContent" in case.body else self._single(case.body)
        return case

    def _single(self, body: dict[str, Any]) -> dict[str, Any]:
        simple = {"Simple": {"Subject": {"Data": "Fish"}, "Body": {"Text": {"Data": "Herring"}}}}
        return {**self._from_us(body), **_to(body), **({"Content": simple} if next(self._plain) else {})}

    def _bulk(self, body: dict[str, Any]) -> dict[str, Any]:
        template = {"Template": {"TemplateContent": {"Subject": "Fish", "Text": "Herring"}}}
        entries = [{**entry, **_to(entry)} for entry in body["BulkEmailEntries"]]
        content = {"DefaultContent": template} if next(self._plain) else {}
        return {**self._from_us(body), "BulkEmailEntries": entries, **content}

    def _from_us(self, body: dict[str, Any]) -> dict[str, Any]:
        named = {"ReplyToAddresses": [self._sender]} if body.get("ReplyToAddresses") else {}
        return {**body, "FromEmailAddress": self._sender, **named}


def _to(order: dict[str, Any]) -> dict[str, Any]:
    """Return as many addressees as an order has, and one at least; more than SES allows stay more."""
    destination = order.get("Destination", {})
    named = {kind: [f"{kind}{n}@example.net" for n, _ in enumerate(each)] for kind, each in destination.items()}
    return {"Destination": named if any(named.values()) else {"ToAddresses": ["anna@example.net"]}}


@pytest.mark.timeout(600)
def test_the_door_for_ses_clients_holds_what_its_schema_says(
    settings: Settings, tenant: SomeTenant, inbox: SomeInbox
) -> None:
    app = make_app(settings)
    document = make_ses_app(app.state.parts).openapi()
    with served(app) as url:
        wanted = {"name": "ses", "scopes": ["messages:send"], "signing": True}
        asked = httpx.post(f"{url}/api/v1/api-keys", json=wanted, headers={"Authorization": f"Bearer {tenant.api_key}"})
        aws = asked.json()["aws"]
        schema: OpenApiSchema = schemathesis.openapi.from_dict(
            document, config=config_of(30, {"base-url": f"{url}{SES_PREFIX}"})
        )
        schema.auth.set_from_requests(Signs(Credentials(aws["access_key_id"], aws["secret_access_key"])))
        schema.hook("map_case")(Sendable(inbox.address))
        seen = run(schema)
        assert seen.findings == []
        assert seen.succeeded == {"POST /outbound-emails", "POST /outbound-bulk-emails"}


@pytest.mark.timeout(600)
async def test_the_operators_door_holds_what_its_schema_says(settings: Settings, system_database: Database) -> None:
    made = await make_key(system_database, "on call", OperatorScope)
    with served(make_operators_app(settings)) as url:
        assert await asyncio.to_thread(findings, url, made.key, examples=10) == []
