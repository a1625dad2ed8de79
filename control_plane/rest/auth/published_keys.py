"""The public halves of the keys that sign access tokens, as a JSON Web Key Set (RFC 7517, RFC 8037)."""

import base64
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from control_plane.people.signing_keys import Key
from control_plane.rest.access import anybody
from control_plane.rest.auth.bodies import people_of

router = APIRouter(prefix="/auth", tags=["auth"])

#: Seconds for which others may keep it; less than a key is known before it signs.
_KEEP_SECONDS = 30


class JsonWebKey(BaseModel):
    """An Ed25519 public key; `x` in base64url."""

    kid: str
    x: str
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"


class JsonWebKeySet(BaseModel):
    """The keys in force, also the one that signs next."""

    keys: list[JsonWebKey]


@router.get("/jwks.json", dependencies=[anybody()])
async def list_keys(request: Request, response: Response) -> JsonWebKeySet:
    """List the keys that access tokens are verified with."""
    response.headers["Cache-Control"] = f"public, max-age={_KEEP_SECONDS}"
    return JsonWebKeySet(keys=[_view(key) for key in await people_of(request).keys.published()])


def _view(key: Key) -> JsonWebKey:
    x = base64.urlsafe_b64encode(key.public.public_bytes_raw()).decode().rstrip("=")
    return JsonWebKey(kid=str(key.id), x=x)
