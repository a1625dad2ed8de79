"""An issuer of OpenID Connect on loopback: real HTTP, keys of its own, and a person who says yes at once.

What it says in ID tokens can be set: it is to be disbelieved where it does not keep to the specification.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

CLIENT_ID, CLIENT_SECRET = "penguin", "a secret of ours: +&/"
_KEY_BITS = 2048


def new_key() -> RSAPrivateKey:
    """Return a key such as most issuers sign with."""
    return generate_private_key(65537, _KEY_BITS)


@dataclass(slots=True)
class OidcIssuer:
    """What it knows, and what it says; `claims` go over the true ones, None takes one away."""

    url: str = ""
    key: RSAPrivateKey = field(default_factory=new_key)
    signs_by: Any = None
    algorithm: str = "RS256"
    person: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: int = 0

    def metadata(self) -> dict[str, Any]:
        doors = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in doors.items()}}

    def keys(self) -> dict[str, Any]:
        own = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**own, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes with its code."""
        code = secrets.token_urlsafe()
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, body: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """Return tokens for a code, once; None for another, another client, or a verifier that does not fit."""
        self.asked += 1
        query = self.codes.pop(body.get("code", ""), None)
        own = base64.b64encode(f"{CLIENT_ID}:{_form(CLIENT_SECRET)}".encode()).decode()
        digest = hashlib.sha256(body.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if query is None or authorization != f"Basic {own}" or query["code_challenge"] != challenge:
            return None
        now = int(time.time())
        true = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": query["nonce"], **self.person}
        said = {name: value for name, value in (true | self.claims).items() if value is not None}
        key: Any = None if self.algorithm == "none" else self.signs_by or self.key
        token = jwt.encode(said, key, algorithm=self.algorithm, headers={"kid": "one"})
        return {"access_token": "of no use here", "token_type": "Bearer", "id_token": token}


@contextmanager
def running_oidc_issuer() -> Iterator[OidcIssuer]:
    """Serve on loopback meanwhile."""
    issuer = OidcIssuer()

    class Handler(_Handler):
        told = issuer

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}"
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            serving.join()


class _Handler(BaseHTTPRequestHandler):
    told: OidcIssuer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        match parts.path:
            case "/.well-known/openid-configuration":
                self._answer(HTTPStatus.OK, self.told.metadata())
            case "/keys":
                self._answer(HTTPStatus.OK, self.told.keys())
            case "/authorize":
                self._answer(HTTPStatus.FOUND, {}, Location=self.told.authorize(_single(parts.query)))

    def do_POST(self) -> None:
        body = _single(self.rfile.read(int(self.headers["Content-Length"])).decode())
        tokens = self.told.token(body, self.headers.get("Authorization", ""))
        if tokens is None:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "invalid_grant"})
        else:
            self._answer(HTTPStatus.OK, tokens)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing."""

    def _answer(self, status: HTTPStatus, body: object, **headers: str) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}


def _form(text: str) -> str:
    return urlencode({"": text})[1:]
