"""Logging in at another's page (OpenID Connect Core 1.0, authorization code with PKCE, RFC 7636). No I/O.

A browser keeps one secret of a log-in under way, in a cookie; state, nonce and code verifier are made of it, each for
one issuer. So an answer is taken from the browser that began alone, at the address of the issuer that it was sent to.
"""

import base64
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import jwt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

#: Signatures by keys that the issuer publishes; never by a secret that is shared, never none.
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_REQUIRED = ["iss", "aud", "sub", "iat", "exp", "nonce"]
_TOLERANCE = dt.timedelta(seconds=60)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class UntrueToken(Exception):
    """An ID token that is not of the issuer, not for us, not of this log-in, or out of force."""


class _Configured(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z0-9-]{1,30}$")
    issuer: str
    client_id: str = Field(min_length=1)
    client_secret_file: Path


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who logs people in for us, and who we are there."""

    name: str
    url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is by an issuer's word."""

    issuer: str
    subject: str
    email: str
    email_verified: bool
    name: str


def read_issuers(path: Path | None) -> Mapping[str, Issuer]:
    """Return the issuers of a file by name; raise `ValueError` and `OSError` for one that says nothing of use.

    It is a JSON list of objects with `name`, `issuer`, `client_id` and `client_secret_file`.
    """
    if path is None:
        return {}
    issuers = {}
    for each in TypeAdapter(list[_Configured]).validate_python(json.loads(path.read_text(encoding="utf-8"))):
        require_private(each.issuer)
        secret = each.client_secret_file.read_text(encoding="utf-8").strip()
        issuers[each.name] = Issuer(each.name, each.issuer, each.client_id, secret)
    return issuers


def require_private(url: str) -> None:
    """Raise `ValueError` for a URL by which secrets would go in the clear beyond loopback."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("an issuer of OpenID Connect is reached by https://")


def derived(secret: str, issuer: Issuer, what: Literal["state", "nonce", "verifier"]) -> str:
    """Return what is made of a browser's secret for one issuer: 256 bits in base64url."""
    octets = hmac.digest(secret.encode(), f"{what} {issuer.name}".encode(), "sha256")
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def authorization_url(endpoint: str, issuer: Issuer, redirect_uri: str, secret: str) -> str:
    """Return where a browser is sent."""
    verifier = derived(secret, issuer, "verifier")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": redirect_uri,
        "scope": "openid email profile",
        "state": derived(secret, issuer, "state"),
        "nonce": derived(secret, issuer, "nonce"),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"


def key_id_of(token: str) -> str | None:
    """Return the name of the key that a token says it is signed by; raise `UntrueToken` for what is no token."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise UntrueToken from error
    return header.get("kid")


def verify_id_token(token: str, key: jwt.PyJWK, issuer: Issuer, nonce: str, now: dt.datetime) -> Identity:
    """Return who an issuer says that somebody is (Core, section 3.1.3.7); raise `UntrueToken`."""
    # Times are judged by the clock that we were given.
    options: Any = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        said = jwt.decode(
            token, key, algorithms=_ALGORITHMS, audience=issuer.client_id, issuer=issuer.url, options=options
        )
        expires = dt.datetime.fromtimestamp(float(said["exp"]), dt.UTC)
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError) as error:
        raise UntrueToken from error
    others = isinstance(said["aud"], list) and len(said["aud"]) > 1
    ours = said.get("azp", None if others else issuer.client_id) == issuer.client_id
    known = hmac.compare_digest(str(said["nonce"]).encode(), nonce.encode())
    if not (ours and known and expires + _TOLERANCE > now) or not isinstance(said["sub"], str):
        raise UntrueToken
    # Only the word itself: some issuers say "false".
    verified = said.get("email_verified") is True
    name = str(said.get("name") or "")
    return Identity(issuer.url, said["sub"], str(said.get("email") or ""), verified, name)
