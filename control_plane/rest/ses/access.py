"""Who signed a request, and its transaction: the counterpart of rest/access.py for signatures.

A request that comes again under the signature, or the SDK's invocation id, of one that was done is given the same
answer: an SDK that heard nothing tries again under its id, and what was overheard sends nothing again as it is.
"""

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
from fastapi import Depends, Request

from control_plane.errors import TooManyRequests
from control_plane.identity.api_keys import parse_api_key, parse_key_name
from control_plane.identity.networks import address_of
from control_plane.messages.send_request import Idempotency
from control_plane.rest.access import NamesPermission
from control_plane.rest.parts import parts_of
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.rates import RATES, RouteClass
from control_plane.ses.signature import SignedRequest, parse_signature, verify
from control_plane.ses.signing_secrets import find_signing_secret
from control_plane.tenancy.permissions import Permission
from control_plane.tenancy.scope import TenantScope, scope_of
from db.session import driver_connection

_INVOCATION = "amz-sdk-invocation-id"
_INVOCATION_ID = re.compile("[A-Za-z0-9-]{8,64}")


@dataclass(frozen=True, slots=True)
class SignedAccess:
    """The signer's tenant, psycopg's connection in the transaction of the request, and what tells a repetition."""

    scope: TenantScope
    connection: psycopg.AsyncConnection[Any]
    idempotency: Idempotency


class _ChecksSignature(NamesPermission):
    """Checks the signature, asks for the permission, and gives the request's transaction."""

    async def __call__(self, request: Request) -> AsyncIterator[SignedAccess]:
        parts, body = parts_of(request), await request.body()
        headers = {name: ",".join(request.headers.getlist(name)) for name in request.headers}
        signature = parse_signature(headers)
        tenant_id, prefix = parse_key_name(signature.access_key_id)
        signed = SignedRequest(request.method, request.url.path, request.url.query, headers, body)
        async with parts.database.tenant(tenant_id) as session:
            secret = await find_signing_secret(session, parts.sealer, tenant_id, prefix)
            verify(signature, signed, secret, parts.clock())
            address = address_of(request.client.host if request.client else None)
            presented = parse_api_key(f"{signature.access_key_id}_{secret}", address)
            connection = await driver_connection(session)
            scope = await scope_of(connection, presented, parts.clock)
            scope.require(self.permission)
            _count(parts.limiter, str(tenant_id), prefix)
            yield SignedAccess(scope, connection, _idempotency(signed, signature.value))


def signed_transaction(permission: Permission) -> Any:  # noqa: ANN401 - Depends() is typed so, to stand as a default
    """Make the dependency of a route that takes signed requests."""
    return Depends(_ChecksSignature(permission), scope="function")


def _idempotency(request: SignedRequest, signature: str) -> Idempotency:
    invocation = request.headers.get(_INVOCATION, "")
    name = f"sdk:{invocation}" if _INVOCATION_ID.fullmatch(invocation) else f"signature:{signature}"
    return Idempotency(f"ses:{name}", hashlib.sha256(f"{request.path}\n".encode() + request.body).digest())


def _count(limiter: RateLimiter, tenant: str, prefix: str) -> None:
    """Count a send against the limits of the other doors, which know callers by a header that here is always another.

    Raises `TooManyRequests`.
    """
    rates, kind = RATES[RouteClass.SEND], RouteClass.SEND.value
    whose = ((rates.key, f"{kind}/key/{tenant}/{prefix}"), (rates.tenant, f"{kind}/tenant/{tenant}"))
    standing = limiter.take(whose)
    if standing.exceeded:
        raise TooManyRequests("The limit of sends is reached.", standing.reset_seconds)
