"""What issuers of OpenID Connect answer: where their doors are, their keys, and ID tokens for codes.

Whoever runs the installation chooses them (PENGUIN_OIDC_FILE). No database session is held meanwhile.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import httpx
import jwt

from control_plane.clock import Clock
from control_plane.errors import NotFound, Unavailable
from control_plane.identity.oidc import (
    Identity,
    Issuer,
    UntrueToken,
    authorization_url,
    derived,
    key_id_of,
    require_private,
    verify_id_token,
)

_TIMEOUT_SECONDS = 10
_MOST_OCTETS = 256 * 1024
_READ_AGAIN = dt.timedelta(hours=1)
#: How soon keys are asked for again because of one that is not known.
_READ_AGAIN_FOR_UNKNOWN = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What an issuer has said of itself."""

    authorization_endpoint: str
    token_endpoint: str
    keys: Mapping[str | None, jwt.PyJWK]
    read_at: dt.datetime


class Issuers:
    """Those of an installation, as one process knows them."""

    def __init__(self, issuers: Mapping[str, Issuer], public_url: str, clock: Clock) -> None:
        self._issuers = issuers
        self._public_url = public_url
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._client: httpx.AsyncClient | None = None

    def named(self, name: str) -> Issuer:
        """Return an issuer; raise `NotFound`."""
        if name not in self._issuers:
            raise NotFound("There is no such issuer.")
        return self._issuers[name]

    async def where_to(self, issuer: Issuer, secret: str) -> str:
        """Return where a browser with this secret is sent; raise `Unavailable`."""
        known = await self._ask(issuer, _READ_AGAIN)
        return authorization_url(known.authorization_endpoint, issuer, self._redirect_uri(issuer), secret)

    async def identify(self, issuer: Issuer, code: str, secret: str) -> Identity:
        """Return who a code is for; raise `UntrueToken`, and `Unavailable` when the issuer does not answer."""
        known = await self._ask(issuer, _READ_AGAIN)
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri(issuer),
            "code_verifier": derived(secret, issuer, "verifier"),
        }
        # RFC 6749, section 2.3.1: both are encoded as in a form first.
        own = (quote_plus(issuer.client_id), quote_plus(issuer.client_secret))
        answer = await self._request("POST", known.token_endpoint, data=body, auth=own)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise UntrueToken
        key = await self._key(issuer, key_id_of(token))
        return verify_id_token(token, key, issuer, derived(secret, issuer, "nonce"), self._clock())

    async def close(self) -> None:
        """Close what is open."""
        if self._client is not None:
            await self._client.aclose()

    def _redirect_uri(self, issuer: Issuer) -> str:
        return f"{self._public_url}/api/v1/auth/oidc/{issuer.name}/callback"

    async def _key(self, issuer: Issuer, key_id: str | None) -> jwt.PyJWK:
        for age in (_READ_AGAIN, _READ_AGAIN_FOR_UNKNOWN):
            keys = (await self._ask(issuer, age)).keys
            if key_id in keys:
                return keys[key_id]
        raise UntrueToken

    async def _ask(self, issuer: Issuer, age: dt.timedelta) -> _Known:
        known = self._known.get(issuer.name)
        if known is None or self._clock() - known.read_at >= age:
            known = await self._read(issuer)
            self._known[issuer.name] = known
        return known

    async def _read(self, issuer: Issuer) -> _Known:
        try:
            said = await self._request("GET", f"{issuer.url.rstrip('/')}/.well-known/openid-configuration")
            doors = [str(said[name]) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
            for each in doors:
                require_private(each)
            if said["issuer"] != issuer.url:
                raise _unavailable(issuer)
            keys = jwt.PyJWKSet.from_dict(await self._request("GET", doors[2])).keys
        except (UntrueToken, KeyError, TypeError, ValueError, jwt.PyJWTError):
            raise _unavailable(issuer) from None
        return _Known(doors[0], doors[1], {key.key_id: key for key in keys}, self._clock())

    async def _request(self, method: str, url: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's own
        """Return the object that is answered; raise `UntrueToken` for another answer, `Unavailable` for none."""
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)
        try:
            async with self._client.stream(method, url, **more) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > _MOST_OCTETS:
                        raise UntrueToken
            said = httpx.Response(answer.status_code, content=bytes(content)).json() if answer.is_success else None
        except httpx.HTTPError as error:
            raise Unavailable(f"The issuer does not answer ({type(error).__name__}); try again later.") from None
        except ValueError as error:
            raise UntrueToken from error
        if not isinstance(said, dict):
            raise UntrueToken
        return said


def _unavailable(issuer: Issuer) -> Unavailable:
    return Unavailable(f"The issuer {issuer.name} does not say what it has to (OpenID Connect Discovery 1.0).")
