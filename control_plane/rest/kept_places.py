"""Whose answers under an Idempotency-Key are kept where: of a tenant's callers, of people and strangers, of operators.

A tenant's callers share the tenant's keys, or those of the workspaces that they are there for, under row-level
security. An operator has those of the API key that they use, and somebody who is logged in those of their session.
Whoever is not logged in is nobody in particular: two strangers with the same key must not meet, so the whole request
names the answer, and another request is another answer's.

Bodies at /auth hold passwords and codes. So neither the key nor the request is written there, nor a hash that somebody
who reads the table could try passwords on: both are HMAC-SHA256 (RFC 2104) under a secret that the database does not
have.
"""

import hashlib
import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.tenancy.scope import TenantScope

# Names of ours alone go into these.
_FIND = """
SELECT {digest}, status, headers, body, created_at < now() - make_interval(mins => %(lost)s) AS lost
FROM {table} WHERE {here}
"""
_WRITE = """
INSERT INTO {table} ({columns}, {digest}, status, headers, body)
VALUES ({values}, %(digest)s, %(status)s, %(headers)s, %(body)s)
ON CONFLICT ({columns}) DO UPDATE SET
    {digest} = excluded.{digest}, status = excluded.status, headers = excluded.headers,
    body = excluded.body, created_at = now()
"""
_DELETE = "DELETE FROM {table} WHERE {here}"
#: For a role that may delete nothing: as good as lost, and forgotten with what is old.
_AGE = "UPDATE {table} SET created_at = '-infinity' WHERE {here}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with a key; `words` are its method, its target and its body: what tells it from another."""

    key: str
    words: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Table:
    """The statements on one table of answers; `free` gives a place back whose request came to nothing."""

    find: str
    write: str
    free: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where one answer is kept, by the table's key; `digest` is of the request's words."""

    table: Table
    columns: Mapping[str, Any]
    digest: bytes

    @property
    def lock(self) -> str:
        """The name of what whoever works on the request holds."""
        return "".join(each.hex() if isinstance(each, bytes) else str(each) for each in self.columns.values())


PlaceOf = Callable[[Asked], Place]


def of_tenant(scope: TenantScope, asked: Asked) -> Place:
    """Return the place of a tenant's caller."""
    columns = {"tenant_id": scope.tenant_id, "within": scope.reach.within, "key": asked.key}
    return Place(_TO_TENANTS, columns, hashlib.sha256(asked.words).digest())


def of_operator(key_id: uuid.UUID, asked: Asked) -> Place:
    """Return the place of an operator, by the id of their API key."""
    return Place(_TO_OPERATORS, {"key_id": key_id, "key": asked.key}, hashlib.sha256(asked.words).digest())


def of_person(secret: bytes, person_id: uuid.UUID, session_id: uuid.UUID, asked: Asked) -> Place:
    """Return the place of somebody who is logged in."""
    return _to_people(secret, asked, b"person", person_id.bytes, session_id.bytes)


def of_stranger(secret: bytes, asked: Asked) -> Place:
    """Return the place of whoever knows the whole request."""
    return _to_people(secret, asked, b"stranger", asked.words)


def _to_people(secret: bytes, asked: Asked, *whose: bytes) -> Place:
    place = _mac(secret, *whose, asked.key.encode())
    return Place(_TO_PEOPLE, {"place": place}, _mac(secret, place, asked.words))


def _mac(secret: bytes, *parts: bytes) -> bytes:
    """Return the HMAC of parts, each after its length: no other parts read the same."""
    told = hmac.new(secret, digestmod="sha256")
    for part in parts:
        told.update(len(part).to_bytes(8))
        told.update(part)
    return told.digest()


def _table(name: str, columns: Sequence[str], digest: str, free: str) -> Table:
    named = {
        "table": name,
        "columns": ", ".join(columns),
        "values": ", ".join(f"%({each})s" for each in columns),
        "here": " AND ".join(f"{each} = %({each})s" for each in columns),
        "digest": digest,
    }
    return Table(_FIND.format(**named), _WRITE.format(**named), free.format(**named))


_TO_TENANTS = _table("kept_answers", ("tenant_id", "within", "key"), "request_sha256", _AGE)
_TO_OPERATORS = _table("kept_answers_to_operators", ("key_id", "key"), "request_sha256", _DELETE)
_TO_PEOPLE = _table("kept_answers_to_people", ("place",), "request_hmac", _DELETE)
