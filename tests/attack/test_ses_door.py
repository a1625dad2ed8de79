"""The door for SES's clients: shut to who does not sign with a key that may send, and silent about other tenants."""

import datetime as dt
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from httpx import Response

from control_plane.embedded.postgres import OWNER, EmbeddedPostgres
from control_plane.embedded.redis import EmbeddedRedis
from control_plane.identity.api_keys import KeyBounds, insert_api_key
from control_plane.rest.ses.app import PREFIX, make_ses_app
from control_plane.ses.signing_secrets import keep_signing_secret
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope
from tests.attack.attacking import Attack, attacking
from tests.attack.door import make_key, of_tenant
from tests.attack.rows import Rows
from tests.attack.sql_attacks import traces
from tests.integration.rest import client_of

_TEXT = {"Subject": {"Data": "Fish"}, "Body": {"Text": {"Data": "Hello\n"}}}
_TO = {"ToAddresses": ["anna@example.net"]}
#: What each operation is asked, by who it is from.
BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "POST /outbound-emails": lambda sender: {
        "FromEmailAddress": sender,
        "Destination": _TO,
        "Content": {"Simple": _TEXT},
    },
    "POST /outbound-bulk-emails": lambda sender: {
        "FromEmailAddress": sender,
        "DefaultContent": {"Template": {"TemplateContent": {"Subject": "Fish", "Text": "Hello\n"}}},
        "BulkEmailEntries": [{"Destination": _TO}],
    },
}


@dataclass(frozen=True, slots=True)
class SesDoor:
    attack: Attack
    client: httpx.AsyncClient

    async def ask(self, operation: str, body: object, credentials: Credentials | None) -> Response:
        """Send a request, signed if there is something to sign it with."""
        method, _, path = operation.partition(" ")
        request = self.client.build_request(method, f"http://penguin.test{PREFIX}{path}", json=body)
        if credentials is not None:
            signed = AWSRequest(method, str(request.url), data=request.content)
            SigV4Auth(credentials, "ses", "eu-central-1").add_auth(signed)
            request.headers.update(dict(signed.headers))
        return await self.client.send(request)

    async def credentials(self, rows: Rows, scopes: list[str] | None, bounds: KeyBounds | None = None) -> Credentials:
        """Make a key that signs."""
        sealer = self.attack.door.app.state.parts.sealer
        async with self.attack.database.system() as session:
            made = await insert_api_key(
                session, rows.id, "ses", created_by="operator", scopes=scopes, bounds=bounds or KeyBounds()
            )
            signing = await keep_signing_secret(session, sealer, TenantScope(rows.id, frozenset()), made)
        return Credentials(signing.access_key_id, signing.secret_access_key)

    async def refused(self) -> dict[str, Credentials | None]:
        """Return those whom nothing opens to."""
        rows, now = self.attack.door.ground.attacker, dt.datetime.now(dt.UTC)
        own, revoked = await self.credentials(rows, None), await self.credentials(rows, None)
        with psycopg.connect(self.attack.door.ground.database.url(OWNER)) as owner:
            owner.execute(
                "UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", [revoked.access_key.split("_")[2]]
            )
        every = [each.value for each in Permission if each is not Permission.SEND_MESSAGES]
        return {
            "nobody": None,
            "another secret": Credentials(own.access_key, own.secret_key[::-1]),
            "own key with the victim's tenant": _credentials(
                of_tenant(f"{own.access_key}_{own.secret_key}", self.attack.door.ground.victim)
            ),
            "a revoked key": revoked,
            "an expired key": await self.credentials(rows, None, KeyBounds(now - dt.timedelta(seconds=1))),
            "a key that was not made to sign": _credentials(await make_key(self.attack.database, rows, None)),
            "a key that may all but send": await self.credentials(rows, every),
        }


def _credentials(key: str) -> Credentials:
    name, _, secret = key.rpartition("_")
    return Credentials(name, secret)


@pytest.fixture(scope="module")
async def door(
    cluster: EmbeddedPostgres, redis_server: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SesDoor]:
    state = tmp_path_factory.mktemp("state")
    async with (
        attacking(cluster, redis_server, state, "penguin_api") as attack,
        client_of(attack.door.app, None, PREFIX.strip("/")) as client,
    ):
        yield SesDoor(attack, client)


async def test_each_operation_is_attacked(door: SesDoor) -> None:
    document = make_ses_app(door.attack.door.app.state.parts).openapi()
    offered = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert offered == set(BODIES)


async def test_whoever_is_refused_is_refused_everything(door: SesDoor) -> None:
    victim, opened = door.attack.door.ground.victim, []
    sender = str(victim.values["inboxes", "email_address"])
    for name, credentials in (await door.refused()).items():
        for operation, body_of in BODIES.items():
            answer = await door.ask(operation, body_of(sender), credentials)
            opened += [f"{operation} answers {name} with {answer.text}"] if answer.status_code != 403 else []
            opened += [f"{operation} shows {trace}" for trace in traces(victim, (answer.text, answer.headers))]
    assert opened == []


async def test_whoever_may_send_gets_in_with_the_same_bodies(door: SesDoor) -> None:
    own, answers = door.attack.door.ground.attacker, {}
    credentials, sender = await door.credentials(own, ["messages:send"]), str(own.values["inboxes", "email_address"])
    for operation, body_of in BODIES.items():
        answers[operation] = (await door.ask(operation, body_of(sender), credentials)).status_code
    assert answers == dict.fromkeys(BODIES, 200)


async def test_another_tenants_sender_is_as_one_that_nobody_has(door: SesDoor) -> None:
    ground, told = door.attack.door.ground, []
    own = await door.credentials(ground.attacker, None)
    theirs = str(ground.victim.values["inboxes", "email_address"])
    domain = str(ground.victim.values["domains", "name"])
    for operation, body_of in BODIES.items():
        for sender, nobodys in ((theirs, "nobody@nobodys.example"), (f"nobody@{domain}", "nobody@nobodys.example")):
            seen, unseen = [await door.ask(operation, body_of(each), own) for each in (sender, nobodys)]
            texts = [
                answer.text.replace(each.partition("@")[2], "…") for answer, each in ((seen, sender), (unseen, nobodys))
            ]
            assert (seen.status_code, unseen.status_code) == (400, 400)
            told += [f"{operation}: {texts}"] if texts[0] != texts[1] else []
            told += [f"{operation} shows {trace}" for trace in traces(ground.victim, texts)]
    assert told == []
