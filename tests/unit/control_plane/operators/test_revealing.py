import pytest

from control_plane.operators.revealing import masked


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("anna@mail.example.net", "a…@m….net"),
        ('"a@b"@example.org', '"…@e….org'),
        ("hmac-sha256:00ff", "hmac-sha256:00ff"),
        ("(erased)", "(erased)"),
        ("", ""),
    ],
)
def test_of_an_address_its_beginnings_are_shown_and_of_what_is_none_all(address: str, shown: str) -> None:
    assert masked(address) == shown
