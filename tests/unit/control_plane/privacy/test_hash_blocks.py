import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from control_plane.privacy.erase import hash_blocks


@given(st.binary(max_size=64), st.binary(max_size=400))
def test_the_blocks_are_those_of_hmac(key: bytes, message: bytes) -> None:
    inner, outer = hash_blocks(key)
    hashed = hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).digest()
    assert hashed == hmac.digest(key, message, "sha256")
