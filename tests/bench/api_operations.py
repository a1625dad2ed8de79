"""What is asked of the api when it is measured: reads as paths, writes as what a client does.

What asks servers, providers or other hosts is not among them, nor what sends letters or hashes passwords: there the
other side is measured.
"""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.bench.http_clients import Answer, Asking, Client

PREFIX = "/api/v1"

#: A row by its primary key, and the plain handler of the same application: what the others are held against.
PRIMARY_KEY = "GET message"
NOTHING = "nothing"

_WEEK = "created_after=2026-02-01T00:00:00Z&created_before=2026-02-08T00:00:00Z"
READS: Mapping[str, str] = {
    PRIMARY_KEY: "/messages/{message}",
    "GET tenant": "/tenant",
    "GET workspace": "/workspaces/{tenant}",
    "GET inbox": "/inboxes/{inbox}",
    "GET client settings": "/inboxes/{inbox}/client-settings",
    "GET DNS records": "/inboxes/{inbox}/dns-records",
    "GET domain": "/domains/{tenant}",
    "GET server": "/vps/{tenant}",
    "GET server's runs": "/vps/{tenant}/runs",
    "GET server's health": "/vps/{tenant}/health",
    "GET fleet's health": "/fleet/health",
    "GET usage": "/usage",
    "GET queue": "/queue",
}
#: In place of `after` and the cursor that a page before gave.
_AFTER = "AFTER"
#: Pages of a hundred, as they are when nothing is said of it, unless a name says another.
LISTS: Mapping[str, str] = {
    "list inbox's messages": "/inboxes/{inbox}/messages",
    "list inbox's messages, 20": "/inboxes/{inbox}/messages?limit=20",
    "list inbox's messages by state": "/inboxes/{inbox}/messages?state=expired",
    "list inbox's messages from a cursor": f"/inboxes/{{inbox}}/messages?{_AFTER}",
    "search, nothing said": "/messages",
    "search, 20": "/messages?limit=20",
    "search by recipient": "/messages?recipient={recipient}",
    "search by rare state": "/messages?state=bounced",
    "search by state there is none of": "/messages?state=failed",
    "search by subject": "/messages?subject=FISH+12345",
    "search by inbox and time": f"/messages?inbox={{inbox}}&{_WEEK}",
    "search from a cursor": f"/messages?{_AFTER}",
    "list inboxes": "/workspaces/{tenant}/inboxes",
    "list domains": "/domains",
    "list servers": "/workspaces/{tenant}/vps",
    "list workspaces": "/workspaces",
    "list suppressions": "/suppressions",
    "search suppressions by address": "/suppressions?address=gone7@walrus.example",
    "search suppressions by reason": "/suppressions?reason=manual",
    "list events": "/events",
    "search events by type": "/events?type=server.ready",
    "search events by subject": "/events?subject_id={message}",
    "list notices": "/notices",
    "list audit": "/audit",
    "list API keys": "/api-keys",
    "list members": "/members",
    "list invitations": "/invitations",
    "list webhooks": "/webhooks",
    "list IP pools": "/workspaces/{tenant}/ip-pools",
}


class UnexpectedAnswer(Exception):
    """An answer was not what is measured."""


def id_of(kind: str, place: int) -> uuid.UUID:
    """Return the id of a row of api_rows.sql."""
    return uuid.UUID(hashlib.md5(f"{kind}{place}".encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Caller:
    """A client and rows of its tenant's."""

    client: Client
    tenant: uuid.UUID
    inboxes: Sequence[uuid.UUID]
    #: Ids and recipients of messages, from old to new.
    messages: Sequence[tuple[uuid.UUID, str]] = field(repr=False)

    def path(self, template: str, turn: int) -> str:
        """Return a path of its own, another one each turn."""
        message, recipient = self.messages[turn * 7 % len(self.messages)]
        inbox = self.inboxes[turn % len(self.inboxes)]
        named = template.format(tenant=self.tenant, inbox=inbox, message=message, recipient=quote(recipient))
        return f"{PREFIX}{named}"

    async def wants(self, method: str, template: str, turn: int, body: object = None, **headers: str) -> Answer:
        """Ask, and raise `UnexpectedAnswer` for anything but success."""
        content = b"" if body is None else json.dumps(body).encode()
        answer = await self.client.ask(method, self.path(template, turn), content, **headers)
        if answer.status >= 300:
            raise UnexpectedAnswer(f"{method} {template}: {answer.status} {answer.body[:300]!r}")
        return answer


Write = Callable[[Caller, int], Awaitable[Answer]]
_MESSAGE = {"to": "anna@walrus.example", "subject": "Fish", "text": "Herring for all of us.\n" * 40}
_SEND = "/inboxes/{inbox}/messages"


async def _send(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", _SEND, turn, _MESSAGE)


async def _send_once(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", _SEND, turn, _MESSAGE, idempotency_key=str(uuid.uuid4()))


async def _send_ten(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", f"{_SEND}:batch", turn, {"messages": [_MESSAGE] * 10})


async def _cancel(caller: Caller, turn: int) -> Answer:
    return await caller.wants("DELETE", f"/messages/{_made(await _send(caller, turn))}", turn)


async def _change_inbox(caller: Caller, turn: int) -> Answer:
    return await caller.wants("PATCH", "/inboxes/{inbox}", turn, {"display_name": uuid.uuid4().hex})


async def _change_tenant(caller: Caller, turn: int) -> Answer:
    return await caller.wants("PATCH", "/tenant", turn, {"name": uuid.uuid4().hex})


async def _change_domain(caller: Caller, turn: int) -> Answer:
    return await caller.wants(
        "PATCH", "/domains/{tenant}", turn, {"tls_reports_to": f"{uuid.uuid4().hex}@walrus.example"}
    )


async def _make_workspace(caller: Caller, turn: int) -> Answer:
    return await caller.wants(
        "POST", "/workspaces", turn, {"name": uuid.uuid4().hex}, idempotency_key=str(uuid.uuid4())
    )


async def _change_workspace(caller: Caller, turn: int) -> Answer:
    return await caller.wants("PATCH", "/workspaces/{tenant}", turn, {"name": uuid.uuid4().hex})


async def _remove_workspace(caller: Caller, turn: int) -> Answer:
    return await caller.wants("DELETE", f"/workspaces/{_made(await _make_workspace(caller, turn))}", turn)


async def _suppress(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", "/suppressions", turn, {"address": f"{uuid.uuid4().hex}@walrus.example"})


async def _unsuppress(caller: Caller, turn: int) -> Answer:
    return await caller.wants("DELETE", f"/suppressions/{_made(await _suppress(caller, turn))}", turn)


async def _make_key(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", "/api-keys", turn, {"name": "bench", "role": "member"})


async def _revoke_key(caller: Caller, turn: int) -> Answer:
    return await caller.wants("DELETE", f"/api-keys/{_made(await _make_key(caller, turn))}", turn)


async def _make_pool(caller: Caller, turn: int) -> Answer:
    return await caller.wants("POST", "/workspaces/{tenant}/ip-pools", turn, {"name": uuid.uuid4().hex})


def _made(answer: Answer) -> str:
    return str(json.loads(answer.body)["id"])


#: Only the last request of each is timed.
WRITES: Mapping[str, Write] = {
    "POST message": _send,
    "POST message with a key": _send_once,
    "POST ten messages": _send_ten,
    "DELETE message": _cancel,
    "PATCH inbox": _change_inbox,
    "PATCH tenant": _change_tenant,
    "PATCH domain": _change_domain,
    "POST workspace with a key": _make_workspace,
    "PATCH workspace": _change_workspace,
    "DELETE workspace": _remove_workspace,
    "POST suppression": _suppress,
    "DELETE suppression": _unsuppress,
    "POST API key": _make_key,
    "DELETE API key": _revoke_key,
    "POST IP pool": _make_pool,
}


def reading(caller: Caller, template: str) -> Asking:
    """Return what a client asks to read; the page that gave it a cursor is not timed."""

    async def ask(turn: int) -> float:
        wanted = template
        if _AFTER in template:
            before = await caller.wants("GET", template.replace(_AFTER, "limit=1"), turn)
            wanted = template.replace(_AFTER, f"after={json.loads(before.body)['next']}")
        return (await caller.wants("GET", wanted, turn)).seconds

    return ask


def writing(caller: Caller, write: Write) -> Asking:
    """Return what a client asks to write."""

    async def ask(turn: int) -> float:
        return (await write(caller, turn)).seconds

    return ask


def idling(caller: Caller) -> Asking:
    """Return what asks the plain handler."""

    async def ask(_: int) -> float:
        return (await caller.client.ask("GET", "/bench/nothing")).seconds

    return ask
