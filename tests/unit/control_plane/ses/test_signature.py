import dataclasses
import datetime as dt

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import Unauthenticated
from control_plane.ses.signature import WINDOW, SignatureRefused, SignedRequest, parse_signature, verify

SECRET = "wJalrXUtnFEMIsecret"
HOST = "mail.example:8025"


def signed(path: str = "/v2/email/outbound-emails", query: str = "", body: bytes = b"{}") -> SignedRequest:
    """Return a request as Amazon's own code signs it."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
    SigV4Auth(Credentials("pmk_tenant_prefix", SECRET), "ses", "eu-central-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest("POST", path, query, {"host": HOST, **headers}, body)


def check(request: SignedRequest, secret: str = SECRET, later: dt.timedelta = dt.timedelta(0)) -> None:
    signature = parse_signature(request.headers)
    verify(signature, request, secret, signature.at + later)


@given(st.binary(max_size=50), st.lists(st.tuples(st.from_regex(r"[a-z~ +]{1,5}", fullmatch=True), st.just("x y"))))
def test_what_amazons_code_signs_is_taken(body: bytes, query: list[tuple[str, str]]) -> None:
    text = "&".join(
        f"{name.replace('+', '%2B').replace(' ', '%20')}={value.replace(' ', '%20')}" for name, value in query
    )
    check(signed(query=text, body=body))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/v2/email/outbound-bulk-emails"},
        {"query": "a=b"},
        {"body": b"{ }"},
    ],
)
def test_a_signature_is_of_one_request_only(change: dict[str, object]) -> None:
    with pytest.raises(SignatureRefused, match="does not match"):
        check(dataclasses.replace(signed(), **change))  # type: ignore[arg-type]  # one of its fields each


def test_a_signature_is_of_one_host_and_one_secret() -> None:
    request = signed()
    with pytest.raises(SignatureRefused):
        check(dataclasses.replace(request, headers={**request.headers, "host": "other.example"}))
    with pytest.raises(SignatureRefused):
        check(request, secret="other")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_signature_is_in_force_for_some_minutes(sign: int) -> None:
    request = signed()
    check(request, later=sign * WINDOW)
    with pytest.raises(SignatureRefused, match="another time"):
        check(request, later=sign * (WINDOW + dt.timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("AWS4-HMAC-SHA256", "AWS3"),
        ("/ses/", "/s3/"),
        ("content-type;host;x-amz-date", "content-type;x-amz-date"),
        ("content-type;host;x-amz-date", "content-type;host"),
        ("Credential=", "Credential=/"),
        ("/20", "/19"),
    ],
)
def test_what_is_no_signature_of_a_whole_request_is_refused(old: str, new: str) -> None:
    headers = signed().headers
    assert old in headers["authorization"]
    with pytest.raises(SignatureRefused):
        parse_signature({**headers, "authorization": headers["authorization"].replace(old, new)})


def test_a_request_without_a_date_or_a_signature_is_refused() -> None:
    headers = dict(signed().headers)
    with pytest.raises(SignatureRefused, match="X-Amz-Date"):
        parse_signature({**headers, "x-amz-date": "yesterday"})
    del headers["authorization"]
    with pytest.raises(Unauthenticated, match="Sign the request"):
        parse_signature(headers)


@given(st.text(max_size=80), st.text(max_size=20))
def test_whatever_the_headers_hold_is_taken_apart_or_refused(authorization: str, date: str) -> None:
    with pytest.raises(SignatureRefused):
        parse_signature({"authorization": authorization, "x-amz-date": date})
