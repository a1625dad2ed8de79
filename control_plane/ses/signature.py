"""Signatures of requests as AWS clients make them (Signature Version 4): pure.

The client proves with an HMAC that it has the key's secret, over the method, the path, some headers, the moment and the
body. A moment more than five minutes away is refused; within those, a request that comes again is told by its
signature. Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

from control_plane.errors import Unauthenticated

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "ses"
#: How far a client's clock may be away.
WINDOW = dt.timedelta(minutes=5)

_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM} Credential=(?P<key>[!-+\--.0-~]{{1,128}})/(?P<date>[0-9]{{8}})/(?P<region>[a-z0-9-]{{1,40}})"
    rf"/(?P<service>[a-z0-9-]{{1,40}})/aws4_request, ?SignedHeaders=(?P<headers>[a-z0-9;-]{{1,1000}})"
    r", ?Signature=(?P<signature>[0-9a-f]{64})"
)
#: Without these a signature could be moved to another host or another moment.
_SIGNED_ALWAYS = frozenset({"host", "x-amz-date"})


class SignatureRefused(Unauthenticated):
    """The signature is not that of this request."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What an Authorization header says; nothing in it is proven yet."""

    access_key_id: str
    date: str
    region: str
    signed_headers: tuple[str, ...]
    value: str
    #: X-Amz-Date as it was sent, and what it says.
    timestamp: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a signature is over. Names of headers are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def parse_signature(headers: Mapping[str, str]) -> Signature:
    """Take the headers apart; raise `Unauthenticated` without a signature and `SignatureRefused` for no right one."""
    if "authorization" not in headers:
        raise Unauthenticated("Sign the request with an access key (AWS Signature Version 4).")
    found = _AUTHORIZATION.fullmatch(headers["authorization"])
    if found is None:
        raise SignatureRefused(
            f"The Authorization header is not {_ALGORITHM} with Credential, SignedHeaders, Signature."
        )
    timestamp = headers.get("x-amz-date", "")
    try:
        at = dt.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        raise SignatureRefused("X-Amz-Date is missing, or not like 20261122T120000Z.") from None
    if found["service"] != _SERVICE or not timestamp.startswith(found["date"]):
        raise SignatureRefused(f"The credential's scope must name the request's date and the service {_SERVICE}.")
    signed = tuple(found["headers"].split(";"))
    if not _SIGNED_ALWAYS.issubset(signed):
        raise SignatureRefused("The headers Host and X-Amz-Date must be signed.")
    return Signature(found["key"], found["date"], found["region"], signed, found["signature"], timestamp, at)


def verify(signature: Signature, request: SignedRequest, secret: str, now: dt.datetime) -> None:
    """Raise `SignatureRefused` unless whoever has the secret signed this request within the window."""
    if abs(now - signature.at) > WINDOW:
        raise SignatureRefused(f"The signature is of another time: our clock says {now:%Y%m%dT%H%M%SZ}.")
    if not hmac.compare_digest(sign(signature, request, secret), signature.value):
        raise SignatureRefused("The signature does not match; check the secret access key.")


def sign(signature: Signature, request: SignedRequest, secret: str) -> str:
    """Return the signature of the request by this secret, with what `signature` says of it."""
    scope = f"{signature.date}/{signature.region}/{_SERVICE}/aws4_request"
    digest = hashlib.sha256(_canonical(signature, request).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, "\n".join((_ALGORITHM, signature.timestamp, scope, digest)).encode(), "sha256").hex()


def _canonical(signature: Signature, request: SignedRequest) -> str:
    query = sorted((_quoted(name), _quoted(value)) for name, value in parse_qsl(request.query, keep_blank_values=True))
    headers = (f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signature.signed_headers)
    lines = (
        request.method,
        quote(request.path, safe="/~"),
        "&".join(f"{name}={value}" for name, value in query),
        "".join(headers),
        ";".join(signature.signed_headers),
        # Of what came, whatever X-Amz-Content-SHA256 says of it.
        hashlib.sha256(request.body).hexdigest(),
    )
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return quote(text, safe="~")
