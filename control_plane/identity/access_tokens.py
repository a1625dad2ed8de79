"""Access tokens: JWT (RFC 7519, RFC 9068) signed with Ed25519, good for minutes and for one tenant.

What a token says is who and where; what may be done there is asked of the database each time, so a role that was taken
away is gone at once. One algorithm, one issuer and one audience are taken, and the key is looked up by its id before
anything that the token says is believed.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from control_plane.errors import Unauthenticated

LIFETIME = dt.timedelta(minutes=10)
AUDIENCE = "penguinmails-api"

_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_REQUIRED = ["iss", "aud", "sub", "sid", "iat", "exp"]
#: Our processes' clocks may differ by so much.
_TOLERANCE = dt.timedelta(seconds=10)
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a token stands for: a person's session, and the tenant that it works in, if any."""

    person_id: uuid.UUID
    session_id: uuid.UUID
    tenant_id: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class PresentedPerson:
    """A person whose token is true and whose session goes on; that they are a member is not known yet."""

    tenant_id: uuid.UUID
    person_id: uuid.UUID
    session_id: uuid.UUID


def sign_token(claims: Claims, key_id: uuid.UUID, key: Ed25519PrivateKey, issuer: str, now: dt.datetime) -> str:
    """Return a token that is good from now on for `LIFETIME`."""
    payload: dict[str, Any] = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(claims.person_id),
        "sid": str(claims.session_id),
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
        "jti": str(uuid.uuid4()),
    }
    if claims.tenant_id is not None:
        payload["tid"] = str(claims.tenant_id)
    return jwt.encode(payload, key, algorithm=_ALGORITHM, headers={"kid": str(key_id), "typ": _TYPE})


def key_id_of(token: str) -> uuid.UUID:
    """Return the id of the key that a token names; raise `Unauthenticated` when it cannot be one of ours."""
    if len(token) > _LONGEST:
        raise _refused()
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") != _ALGORITHM or header.get("typ") != _TYPE or "crit" in header:
            raise _refused()
        return uuid.UUID(header["kid"])
    except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError):
        raise _refused() from None


def verify_token(token: str, key: Ed25519PublicKey, issuer: str, now: dt.datetime) -> Claims:
    """Return what a token says; raise `Unauthenticated` when it is not true, not for us, or out of time."""
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            issuer=issuer,
            # The times are held against our own clock below.
            options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
        claims = _claims(payload)
        issued, expires = (dt.datetime.fromtimestamp(payload[name], dt.UTC) for name in ("iat", "exp"))
    except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError):
        raise _refused() from None
    if now >= expires:
        raise Unauthenticated("The access token has expired; get another with the refresh token.")
    if issued > now + _TOLERANCE:
        raise _refused()
    return claims


def _claims(payload: Mapping[str, Any]) -> Claims:
    tenant = payload.get("tid")
    return Claims(uuid.UUID(payload["sub"]), uuid.UUID(payload["sid"]), None if tenant is None else uuid.UUID(tenant))


def _refused() -> Unauthenticated:
    return Unauthenticated("This is neither an API key nor an access token of this service.")
