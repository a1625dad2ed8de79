import base64
import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import Unauthenticated
from control_plane.identity.api_keys import parse_api_key

TENANT = uuid.UUID("01934d3a-7f10-7a2b-8c3d-4e5f60718293")
OWNER = base64.b32encode(TENANT.bytes).decode().rstrip("=").lower()


def test_a_key_names_its_tenant_before_anything_is_looked_up() -> None:
    presented = parse_api_key(f"pmk_{OWNER}_abcdefgh_secret")
    assert (presented.tenant_id, presented.prefix) == (TENANT, "abcdefgh")
    assert presented.secret_sha256 == hashlib.sha256(b"secret").digest()


def test_a_key_is_not_in_its_own_description() -> None:
    presented = parse_api_key(f"pmk_{OWNER}_abcdefgh_secret")
    assert "secret" not in repr(presented)
    assert str(presented.secret_sha256) not in repr(presented)


@given(st.text() | st.text().map(lambda text: f"pmk_{OWNER}_{text}") | st.text().map(lambda text: f"pmk_{text}_a_b"))
def test_whatever_is_presented_is_a_key_or_is_refused(presented: str) -> None:
    try:
        key = parse_api_key(presented)
    except Unauthenticated:
        return
    assert presented.count("_") == 3
    assert key.prefix == presented.split("_")[2]


@pytest.mark.parametrize("owner", ["", OWNER[:-1], OWNER + "aaaaaaaa", "0" * 26, OWNER + "=", "ü" * 26])
def test_a_key_without_a_tenant_is_refused(owner: str) -> None:
    with pytest.raises(Unauthenticated):
        parse_api_key(f"pmk_{owner}_abcdefgh_secret")
