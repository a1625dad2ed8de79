"""A tenant's sends, newest first, by what is known of them.

A page is one walk along an index in falling order of ids, which begin with the time: of the recipient, of a state that
is rare, of the inbox, of the workspace of a caller of one, or of the tenant, whichever of these comes first of what is
given. What else is asked for is looked for in the rows on the way, and so many of them are walked for a page at most;
one that ends there has fewer messages than it may, and says where the next goes on.
"""

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from control_plane.inboxes.load import require_inbox
from control_plane.messages.sent import COLUMNS, Sent
from control_plane.tenancy.scope import TenantScope
from db.ids import first_uuid7_of

#: Rows walked for one page.
MOST_WALKED = 1000

#: The states of idx_messages_not_delivered.
_RARE = frozenset({"bounced", "expired", "failed", "cancelled", "suppressed", "uncertain", "dead"})

_AND = SQL(" AND ")
_SHOWN = SQL(", ").join(map(Identifier, COLUMNS))
# How far is written out: the plan depends on it. The last row of the walk comes in any case, and together with what is
# shown: by its id alone it would be looked for in a plan that sorts all that the tenant ever sent.
_PAGE = SQL("""
SELECT {columns}, {met}, place = {most} FROM (
    SELECT {columns}, row_number() OVER (ORDER BY id DESC) AS place FROM messages WHERE {along}
    ORDER BY id DESC LIMIT {most}
) walked
WHERE {met} OR place = {most} ORDER BY id DESC LIMIT %(limit)s
""")
_LIKE_ESCAPE = "\\"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known of the messages; None for anything. `subject` is a part of it, in any case of letters."""

    inbox_id: uuid.UUID | None = None
    recipient: str | None = None
    state: str | None = None
    subject: str | None = None
    created_after: dt.datetime | None = None
    created_before: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A page, and the id below which the next one goes on; None at the end."""

    messages: Sequence[Sent]
    next: uuid.UUID | None


async def search_sends(
    connection: AsyncConnection[Any], scope: TenantScope, wanted: Wanted, *, after: uuid.UUID | None, limit: int
) -> Found:
    """Return a page of the tenant's sends; raise `NotFound` for an inbox that there is not."""
    if wanted.inbox_id is not None:
        await require_inbox(connection, scope, wanted.inbox_id)
    walk = Walk.towards(scope, wanted, after)
    rows = await (await connection.execute(walk.page, {**walk.values, "limit": limit})).fetchall()
    messages = [Sent(*shown) for *shown, met, _ in rows if met]
    # A walk goes on where it had to end, or after what filled the page.
    goes_on = len(rows) == limit or any(last for *_, last in rows)
    return Found(messages, rows[-1][0] if goes_on else None)


@dataclass(frozen=True, slots=True)
class Walk:
    """The walk for one page: the query for what is found on it, and its values but for `limit`."""

    page: Composed
    values: dict[str, Any]

    @classmethod
    def towards(cls, scope: TenantScope, wanted: Wanted, after: uuid.UUID | None) -> "Walk":
        """Return the walk along the index that fits."""
        indexed = list(_indexed(scope, wanted))
        along = _AND.join([*indexed[:1], *_between(wanted, after), SQL("tenant_id = %(tenant_id)s")])
        met = SQL("({})").format(_AND.join([*indexed[1:], *_looked_for(wanted), SQL("true")]))
        most = Literal(MOST_WALKED)
        return cls(_PAGE.format(columns=_SHOWN, along=along, most=most, met=met), _values(scope, wanted, after))


def _indexed(scope: TenantScope, wanted: Wanted) -> Iterator[Composable]:
    """Give the conditions that there are indexes for, that with the fewest rows first."""
    if wanted.recipient is not None:
        yield SQL("recipient_folded = %(recipient)s")
    if wanted.state in _RARE:
        # Written out: a partial index serves none that a plan does not know.
        yield SQL("state = {}").format(Literal(wanted.state))
    if wanted.inbox_id is not None:
        yield SQL("inbox_id = %(inbox_id)s")
    narrower = wanted.recipient is not None or wanted.state in _RARE or wanted.inbox_id is not None
    # A condition for the index alone: policies hold its callers to their workspace on every walk.
    if scope.single_workspace is not None and not narrower:
        yield SQL("workspace_id = %(workspace_id)s")


def _between(wanted: Wanted, after: uuid.UUID | None) -> Iterator[Composable]:
    """Give the conditions that say where in an index the walk begins and ends."""
    if wanted.created_after is not None:
        yield SQL("id >= %(from_id)s")
    if wanted.created_before is not None:
        yield SQL("id < %(to_id)s")
    if after is not None:
        yield SQL("id < %(after)s")


def _looked_for(wanted: Wanted) -> Iterator[Composable]:
    """Give the conditions that no index is for."""
    if wanted.state is not None and wanted.state not in _RARE:
        yield SQL("state = %(state)s")
    if wanted.subject is not None:
        yield SQL("subject ILIKE %(subject)s")


def _values(scope: TenantScope, wanted: Wanted, after: uuid.UUID | None) -> dict[str, Any]:
    return {
        "tenant_id": scope.tenant_id,
        "workspace_id": scope.single_workspace,
        "inbox_id": wanted.inbox_id,
        "recipient": wanted.recipient and wanted.recipient.lower(),
        "state": wanted.state,
        "subject": wanted.subject and f"%{_literal(wanted.subject)}%",
        "from_id": wanted.created_after and first_uuid7_of(wanted.created_after),
        "to_id": wanted.created_before and first_uuid7_of(wanted.created_before),
        "after": after,
    }


def _literal(part: str) -> str:
    """Return what LIKE takes as itself; its escape is a backslash unless another is named."""
    for special in (_LIKE_ESCAPE, "%", "_"):
        part = part.replace(special, _LIKE_ESCAPE + special)
    return part
