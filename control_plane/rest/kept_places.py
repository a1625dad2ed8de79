"""Whose answers under an Idempotency-Key are kept where: of a tenant's callers, of people and strangers, of operators.

A tenant's callers share the tenant's keys, or those of the workspaces that they are there for, under row-level
security. An operator has those of the API key that they use, and somebody who is logged in those of their session.
Whoever is not logged in is nobody in particular: two strangers with the same key must not meet, so the whole request
names the answer, and another request is another answer's.

Bodies hold passwords and codes. So no request is written, nor a hash that somebody who reads the table could try
passwords on: it is HMAC-SHA256 (RFC 2104) under a secret that the database does not have. At /auth that is true of the
key, too. Operators' door has no master key; there the secret is of the API key that came with the request.
"""

import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from control_plane.sealing import Sealer
from control_plane.tenancy.scope import TenantScope

_PURPOSE = "penguin kept answers"

# Names of ours alone go into these.
_FIND = """
SELECT request_hmac, status, headers, body, created_at < now() - make_interval(mins => %(lost)s) AS lost
FROM {table} WHERE {here}
"""
_WRITE = """
INSERT INTO {table} ({columns}, request_hmac, status, headers, body)
VALUES ({values}, %(digest)s, %(status)s, %(headers)s, %(body)s)
ON CONFLICT ({columns}) DO UPDATE SET
    request_hmac = excluded.request_hmac, status = excluded.status, headers = excluded.headers,
    body = excluded.body, created_at = now()
RETURNING created_at
"""
# One that counted as lost may come to nothing late, when its place is another's: only what it began is freed.
_DELETE = "DELETE FROM {table} WHERE {here} AND status IS NULL AND created_at = %(begun_at)s"
#: For a role that may delete nothing: as good as lost, and forgotten with what is old.
_AGE = "UPDATE {table} SET created_at = '-infinity' WHERE {here} AND status IS NULL AND created_at = %(begun_at)s"


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
    """Where one answer is kept, by the table's key.

    `digests` are of the request's words, under the secrets that there are: the first is written, all are known again.
    """

    table: Table
    columns: Mapping[str, Any]
    digests: Sequence[bytes]

    @property
    def lock(self) -> str:
        """The name of what whoever works on the request holds."""
        return "".join(each.hex() if isinstance(each, bytes) else str(each) for each in self.columns.values())


PlaceOf = Callable[[Asked], Place]


def answer_secrets(sealer: Sealer) -> Sequence[bytes]:
    """Return the secret of each master key that there is by now, newest first."""
    sealer.read_again()
    return sealer.derived(_PURPOSE)[::-1]


def of_tenant(secrets: Sequence[bytes], scope: TenantScope, asked: Asked) -> Place:
    """Return the place of a tenant's caller; secrets are newest first."""
    columns = {"tenant_id": scope.tenant_id, "within": scope.reach.within, "key": asked.key}
    return Place(_TO_TENANTS, columns, [_mac(secret, asked.words) for secret in secrets])


def of_operator(secret: bytes, key_id: uuid.UUID, asked: Asked) -> Place:
    """Return the place of an operator, by the id of their API key; the secret is that key's."""
    return Place(_TO_OPERATORS, {"key_id": key_id, "key": asked.key}, [_mac(secret, asked.words)])


def of_person(secret: bytes, person_id: uuid.UUID, session_id: uuid.UUID, asked: Asked) -> Place:
    """Return the place of somebody who is logged in."""
    return _to_people(secret, asked, b"person", person_id.bytes, session_id.bytes)


def of_stranger(secret: bytes, asked: Asked) -> Place:
    """Return the place of whoever knows the whole request."""
    return _to_people(secret, asked, b"stranger", asked.words)


def _to_people(secret: bytes, asked: Asked, *whose: bytes) -> Place:
    place = _mac(secret, *whose, asked.key.encode())
    return Place(_TO_PEOPLE, {"place": place}, [_mac(secret, place, asked.words)])


def _mac(secret: bytes, *parts: bytes) -> bytes:
    """Return the HMAC of parts, each after its length: no other parts read the same."""
    told = hmac.new(secret, digestmod="sha256")
    for part in parts:
        told.update(len(part).to_bytes(8))
        told.update(part)
    return told.digest()


def _table(name: str, columns: Sequence[str], free: str) -> Table:
    named = {
        "table": name,
        "columns": ", ".join(columns),
        "values": ", ".join(f"%({each})s" for each in columns),
        "here": " AND ".join(f"{each} = %({each})s" for each in columns),
    }
    return Table(_FIND.format(**named), _WRITE.format(**named), free.format(**named))


_TO_TENANTS = _table("kept_answers", ("tenant_id", "within", "key"), _AGE)
_TO_OPERATORS = _table("kept_answers_to_operators", ("key_id", "key"), _DELETE)
_TO_PEOPLE = _table("kept_answers_to_people", ("place",), _DELETE)
