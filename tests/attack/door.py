"""The tenants' door over a filled database, callers of every kind, and what one of them is answered."""

import datetime as dt
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from limits import RateLimitItemPerMinute
from psycopg import sql
from pwdlib.hashers.argon2 import Argon2Hasher

from control_plane.embedded.postgres import OWNER
from control_plane.identity.access_tokens import Claims, sign_token
from control_plane.identity.api_keys import KeyBounds, insert_api_key
from control_plane.identity.person_passwords import PersonPasswords
from control_plane.identity.secret_keys import base32
from control_plane.people.people import People
from control_plane.rest import limited_requests
from control_plane.rest.app import make_app
from control_plane.rest.rates import Rates, RouteClass
from control_plane.settings import Settings
from control_plane.tenancy.permissions import ROLES, Permission, Role
from db.session import Database
from tests.attack.ground import Ground
from tests.attack.operations import Operation, operations_of
from tests.attack.rows import Rows
from tests.attack.statements import Statements, noted_statements
from tests.integration.rest import client_of

PREFIX = "/api/v1"
PASSWORD = "correct horse battery"
_PLENTY = RateLimitItemPerMinute(10**9)
#: Whose rows were not sealed with a key that there is: they are made anew when they are needed.
_UNSEALED = ("signing_keys", "platform_data_keys", "tenant_data_keys")
_OF_THE_REQUEST = re.compile(r'"request_id": ?"[^"]*"')
_OF_THE_MOMENT = {"x-request-id", "ratelimit", "date", "content-length"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a name for what is found, and what stands in Authorization."""

    name: str
    token: str | None = field(repr=False)
    permissions: frozenset[Permission] = frozenset()
    is_person: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What there is to see of an answer, without what is of the request alone."""

    status: int
    headers: tuple[tuple[str, str], ...]
    text: str
    statements: tuple[str, ...] = ()

    def without(self, sent: object) -> "Answer":
        """Return it without what the caller has sent."""
        return replace(self, text=self.text.replace(str(sent), "…"), headers=())


@dataclass(frozen=True, slots=True)
class Door:
    """The application, and whom it is attacked by."""

    app: FastAPI
    ground: Ground
    operations: list[Operation]
    client: httpx.AsyncClient
    statements: Statements
    #: What was answered to ids that nothing has, by the request.
    to_nobodys: dict[str, Answer] = field(default_factory=dict)

    async def ask(
        self,
        caller: Caller,
        operation: Operation,
        path: Mapping[str, object],
        *,
        body: Any = None,  # noqa: ANN401 - JSON
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and return what is seen of the answer."""
        own = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        self.statements.taken()
        answer = await self.client.request(
            operation.method, operation.filled(path), json=body, params=query, headers={**own, **(headers or {})}
        )
        return Answer(
            answer.status_code,
            tuple(sorted((name, value) for name, value in answer.headers.items() if name not in _OF_THE_MOMENT)),
            _OF_THE_REQUEST.sub("", answer.text),
            tuple(self.statements.taken()),
        )

    @property
    def people(self) -> People:
        people: People = self.app.state.parts.people
        return people

    async def person(self, rows: Rows, tenant_id: uuid.UUID | None = None) -> Caller:
        """Return a tenant's person as its owner, logged in; their token may be for another tenant."""
        key = await self.people.keys.signing()
        claims = self._claims(rows, tenant_id or rows.id)
        token = sign_token(claims, key.id, key.private, self.people.public_url, self.people.clock())
        return Caller("owner (person)", token, ROLES[Role.OWNER], is_person=True)

    def _claims(self, rows: Rows, tenant_id: uuid.UUID) -> Claims:
        return Claims(rows.values["people", "id"], rows.values["sessions", "id"], tenant_id)

    async def refused(self, database: Database) -> list[Caller]:
        """Return callers that nothing opens to."""
        rows, now = self.ground.attacker, dt.datetime.now(dt.UTC)
        key = await self.people.keys.signing()
        own = self._claims(rows, rows.id)
        expired = await make_key(database, rows, None, KeyBounds(now - dt.timedelta(seconds=1)))
        revoked = await make_key(database, rows, None)
        with psycopg.connect(self.ground.database.url(OWNER)) as owner:
            owner.execute("UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", [revoked.split("_")[2]])
        issuer, hour = self.people.public_url, dt.timedelta(hours=1)
        strangers = Ed25519PrivateKey.generate()
        claims = jwt.decode(sign_token(own, key.id, key.private, issuer, now), options={"verify_signature": False})
        return [
            Caller("nobody", None),
            Caller("garbage", "garbage"),
            Caller("expired key", expired),
            Caller("revoked key", revoked),
            Caller(
                "own key with the victim's tenant", of_tenant(await make_key(database, rows, None), self.ground.victim)
            ),
            Caller("second step's token", "pms_" + "a" * 52),
            Caller("expired person", sign_token(own, key.id, key.private, issuer, now - hour), is_person=True),
            Caller(
                "another issuer's person", sign_token(own, key.id, key.private, "https://x.test", now), is_person=True
            ),
            Caller("another key's person", sign_token(own, key.id, strangers, issuer, now), is_person=True),
            Caller(
                "unsigned person",
                jwt.encode(claims, "", algorithm="none", headers={"kid": str(key.id), "typ": "at+jwt"}),
            ),
        ]


async def make_key(
    database: Database,
    rows: Rows,
    permissions: frozenset[Permission] | None,
    bounds: KeyBounds | None = None,
    workspaces: frozenset[uuid.UUID] | None = None,
) -> str:
    """Make a key of a tenant; without permissions it may do all, without workspaces in all of it."""
    scopes = None if permissions is None else [each.value for each in permissions]
    async with database.system() as session:
        made = await insert_api_key(
            session,
            rows.id,
            "attack",
            created_by="operator",
            scopes=scopes,
            bounds=bounds or KeyBounds(),
            workspaces=workspaces,
        )
        return made.key


async def callers_with_keys(database: Database, rows: Rows) -> list[Caller]:
    """Return a caller with a key for each permission alone."""
    sets = {f"{permission.value} (key)": frozenset({permission}) for permission in Permission}
    return [Caller(name, await make_key(database, rows, each), each) for name, each in sets.items()]


@asynccontextmanager
async def open_door(ground: Ground, settings: Mapping[str, Any], role: str = "penguin_api") -> AsyncIterator[Door]:
    """Serve a filled database as a role; nobody waits for limits, which have tests of their own."""
    _make_sealable(ground)
    app = make_app(_settings(ground, settings, role))
    cheap = PersonPasswords(Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1))
    app.state.parts = replace(app.state.parts, people=replace(app.state.parts.people, passwords=cheap))
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        owner.execute("UPDATE people SET password_hash = %s", [await cheap.hash(PASSWORD)])
    with pytest.MonkeyPatch.context() as patch, noted_statements() as statements:
        patch.setattr(limited_requests, "RATES", {each: Rates(_PLENTY, _PLENTY, _PLENTY) for each in RouteClass})
        async with app.router.lifespan_context(app), client_of(app, None) as client:
            yield Door(app, ground, operations_of(app, PREFIX, "x-permission"), client, statements)


def _settings(ground: Ground, more: Mapping[str, Any], role: str) -> Settings:
    state: Path = more["state_dir"]
    return Settings.model_validate(
        {
            "api_database_url": ground.database.url(role),
            "system_database_url": ground.database.url("penguin_system"),
            "identity_database_url": ground.database.url("penguin_identity"),
            "local_cloud_socket": state / "cloud.sock",
            "public_url": "https://mail.test",
            # Nobody is asked, and if so, it would be here.
            "nameservers": ("127.0.0.1",),
            "powerdns_url": "http://127.0.0.1:1",
            **more,
        }
    )


def _make_sealable(ground: Ground) -> None:
    with psycopg.connect(ground.database.url(OWNER)) as owner:
        for table in _UNSEALED:
            if table in ground.catalogue.columns:
                owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))


def of_tenant(key: str, rows: Rows) -> str:
    """Return a key that names another tenant than the one it was made for."""
    mark, _, prefix, secret = key.split("_")
    return "_".join((mark, base32(rows.id.bytes), prefix, secret))
