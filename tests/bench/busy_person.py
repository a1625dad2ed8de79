"""Somebody at the tenants' door who reads and writes all the time, and gets new tokens when the access token ends.

They read at one api process and write at another, side by side with the same access token; new tokens are got at each
in turn. Some of what is written is sealed by the tenant's key, and requests as SES's clients make them are signed with
a secret that is opened by it.
"""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any

import jwt

from control_plane.clock import Clock
from control_plane.ses.signature import Signature, SignedRequest, sign
from db.session import Database
from tests.bench.http_clients import Answer, Client
from tests.fakes.submission_server import SubmissionServer
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.people.visitor import PASSWORD, code_of

PREFIX = "/api/v1"
_SES = "/v2/email/outbound-emails"
#: New tokens are asked for so long before the access token ends, by the clock that runs faster.
_MARGIN = dt.timedelta(minutes=1)
_REGION = "eu-central-1"


class Refused(Exception):
    """Somebody could not be made: what was answered says why."""


@dataclass(slots=True)
class Tally:
    """What all of them saw while they were busy."""

    #: Seconds between one's requests at each of the two processes.
    pause: float
    over: bool = False
    seconds: list[float] = field(default_factory=list)
    refreshes: int = 0
    #: Requests that came when their token had just ended; they were asked again.
    too_late: int = 0
    failures: list[str] = field(default_factory=list)
    renewed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def take(self, what: str, answer: Answer) -> bool:
        """Count an answer; return whether it was success."""
        self.seconds.append(answer.seconds)
        if answer.status >= 300:
            self.failures.append(f"{what}: {answer.status} {answer.body[:300].decode(errors='replace')}")
        return answer.status < 300


@dataclass(frozen=True, slots=True)
class HeldTokens:
    """What a log-in or a refresh brought."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    key_id: str
    ends: dt.datetime

    @classmethod
    def of(cls, body: dict[str, Any]) -> "HeldTokens":
        access = body["access_token"]
        said = jwt.decode(access, options={"verify_signature": False})
        ends = dt.datetime.fromtimestamp(said["exp"], dt.UTC)
        return cls(access, body["refresh_token"], jwt.get_unverified_header(access)["kid"], ends)


@dataclass(slots=True)
class Person:
    """Somebody with a tenant of their own."""

    place: int
    email: str
    clock: Clock
    #: Ports of two processes.
    reads_at: int
    writes_at: int
    tokens: HeldTokens
    tally: Tally
    refreshes: int = 0
    webhook: str = ""
    aws: dict[str, str] = field(default_factory=dict, repr=False)
    sender: str = ""
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read_on(self) -> None:
        """Read until the tally is over."""
        paths = ("/auth/me", "/members", f"/webhooks/{self.webhook}", "/api-keys")
        await self._go_on([partial(self.ask, self.reads_at, "GET", path) for path in paths])

    async def write_on(self) -> None:
        """Write until the tally is over."""
        await self._go_on([self._rename_tenant, self._change_secret, self._make_and_revoke_key, self._send_signed])

    async def ask(self, port: int, method: str, path: str, body: object = None) -> Answer:
        """Ask with an access token that is good, and count the answer."""
        content = b"" if body is None else json.dumps(body).encode()
        while True:
            tokens = await self._good_tokens()
            answer = await self._ask(port, method, f"{PREFIX}{path}", content, tokens.access)
            if answer.status == 401 and self.clock() >= tokens.ends:
                self.tally.too_late += 1
                continue
            self.tally.take(f"{method} {path}", answer)
            return answer

    async def log_in(self) -> HeldTokens:
        """Return the tokens of a new session; raise `Refused`."""
        answer = await self._ask_openly("/auth/login", {"email": self.email, "password": PASSWORD})
        return HeldTokens.of(_success(answer))

    async def _go_on(self, steps: Sequence[Callable[[], Awaitable[object]]]) -> None:
        loop = asyncio.get_running_loop()
        moment = loop.time()
        for step in cycle(steps):
            if self.tally.over:
                return
            await step()
            moment = max(moment + self.tally.pause, loop.time())
            await asyncio.sleep(moment - loop.time())

    async def _good_tokens(self) -> HeldTokens:
        async with self._renewing:
            if self.clock() >= self.tokens.ends - _MARGIN:
                await self._renew()
            return self.tokens

    async def _renew(self) -> None:
        answer = await self._ask_openly("/auth/refresh", {"refresh_token": self.tokens.refresh})
        taken = self.tally.take("POST /auth/refresh", answer)
        self.tokens = HeldTokens.of(json.loads(answer.body)) if taken else await self.log_in()
        self.refreshes += 1
        self.tally.refreshes += 1
        async with self.tally.renewed:
            self.tally.renewed.notify_all()

    async def _ask(
        self, port: int, method: str, path: str, content: bytes, key: str = "none", **headers: str
    ) -> Answer:
        """Ask on a connection of its own: one that is idle while new tokens are waited for may be closed there."""
        client = await Client.connect(self.place, port, key)
        try:
            return await client.ask(method, path, content, **headers)
        finally:
            client.writer.close()

    async def _ask_openly(self, path: str, body: object) -> Answer:
        """Ask what anybody may, at the processes in turn."""
        port = (self.reads_at, self.writes_at)[self.refreshes % 2]
        return await self._ask(port, "POST", f"{PREFIX}{path}", json.dumps(body).encode())

    async def _write(self, method: str, path: str, body: object = None) -> Answer:
        return await self.ask(self.writes_at, method, path, body)

    async def _rename_tenant(self) -> None:
        await self._write("PATCH", "/tenant", {"name": uuid.uuid4().hex})

    async def _change_secret(self) -> None:
        await self._write("POST", f"/webhooks/{self.webhook}:rotate", {})

    async def _make_and_revoke_key(self) -> None:
        made = await self._write("POST", "/api-keys", {"name": "k", "role": "member", "signing": True})
        if made.status < 300:
            await self._write("DELETE", f"/api-keys/{json.loads(made.body)['id']}")

    async def _send_signed(self) -> None:
        content = {"Simple": {"Subject": {"Data": "Fish"}, "Body": {"Text": {"Data": "Herring\n"}}}}
        order = {
            "FromEmailAddress": self.sender,
            "Destination": {"ToAddresses": ["anna@walrus.example"]},
            "Content": content,
        }
        body = json.dumps(order).encode()
        headers = _signed(self.writes_at, body, self.aws, self.clock())
        self.tally.take(f"POST {_SES}", await self._ask(self.writes_at, "POST", _SES, body, **headers))

    async def arrive(self, town: "Town") -> None:
        """Sign up, answer the letter, log in, and make what is read and written later. Raises `Refused`."""
        wanted = {"email": self.email, "password": PASSWORD, "name": "Anna", "tenant_name": f"Colony {self.place}"}
        _success(await self._ask_openly("/auth/sign-up", wanted))
        (letter,) = (each for each in town.sink.letters if each["To"] == self.email)
        joined = _success(await self._ask_openly("/auth/verify-email", {"token": code_of(letter)}))
        self.tokens = await self.log_in()
        hook = await self._write("POST", "/webhooks", {"url": "https://hooks.penguin.example/"})
        key = await self._write("POST", "/api-keys", {"name": "ses", "scopes": ["messages:send"], "signing": True})
        workspace = await self._write("POST", "/workspaces", {"name": "Sales"})
        self.webhook, self.aws = _success(hook)["id"], _success(key)["aws"]
        tenant = SomeTenant(uuid.UUID(joined["tenant_id"]), uuid.UUID(_success(workspace)["id"]), "")
        self.sender = (await make_inbox(town.database, tenant, await make_server(town.database, tenant))).address


@dataclass(frozen=True, slots=True)
class Town:
    """Where people arrive: the ports of two processes, their clock, where letters come in, and the system role."""

    ports: tuple[int, int]
    clock: Clock
    sink: SubmissionServer
    database: Database


async def make_person(town: Town, place: int) -> Person:
    """Return somebody who has arrived. Raises `Refused`."""
    nobody = HeldTokens("", "", "", town.clock())
    person = Person(place, f"person{place}@penguin.example", town.clock, *town.ports, nobody, Tally(pause=0))
    await person.arrive(town)
    return person


def _success(answer: Answer) -> dict[str, Any]:
    if answer.status >= 300:
        raise Refused(f"{answer.status} {answer.body[:500].decode(errors='replace')}")
    body: dict[str, Any] = json.loads(answer.body)
    return body


def _signed(port: int, body: bytes, aws: dict[str, str], now: dt.datetime) -> dict[str, str]:
    """Return the headers of a request that an AWS client signed at that moment."""
    timestamp = f"{now:%Y%m%dT%H%M%SZ}"
    names = ("host", "x-amz-date")
    signature = Signature(aws["access_key_id"], timestamp[:8], _REGION, names, "", timestamp, now)
    request = SignedRequest("POST", _SES, "", {"host": f"127.0.0.1:{port}", "x-amz-date": timestamp}, body)
    value = sign(signature, request, aws["secret_access_key"])
    credential = f"{signature.access_key_id}/{signature.date}/{_REGION}/ses/aws4_request"
    written = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(names)}, Signature={value}"
    return {"Authorization": written, "X_Amz_Date": timestamp}
