import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.errors import InvalidInput, Unauthenticated
from control_plane.operators.keys import parse_operator_key
from control_plane.operators.scopes import READING, OperatorScope, parse_scopes


def test_a_key_is_taken_apart_and_is_not_in_its_own_description() -> None:
    presented = parse_operator_key("pmo_abcdefgh_secret")
    assert presented.prefix == "abcdefgh"
    assert presented.secret_sha256 == hashlib.sha256(b"secret").digest()
    assert "secret" not in repr(presented)


@given(st.text() | st.text().map(lambda text: f"pmo_{text}") | st.text().map(lambda text: f"pmo_{text}_x"))
def test_whatever_is_presented_is_a_key_or_is_refused(presented: str) -> None:
    try:
        key = parse_operator_key(presented)
    except Unauthenticated:
        return
    assert presented.split("_")[:2] == ["pmo", key.prefix]
    assert key.prefix.isalnum()
    assert presented.isascii()


@given(st.lists(st.sampled_from(OperatorScope) | st.text(max_size=12)))
def test_scopes_are_known_ones_or_are_refused(names: list[str]) -> None:
    if set(names) <= set(OperatorScope):
        assert parse_scopes(names) == (set(names) or READING)
    else:
        with pytest.raises(InvalidInput):
            parse_scopes(names)


def test_a_key_that_asked_for_nothing_changes_nothing() -> None:
    assert {scope for scope in OperatorScope if scope.endswith(":read")} == READING
