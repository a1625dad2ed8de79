import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.delivery.hard_bounces import is_hard


@pytest.mark.parametrize("code", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"])
def test_a_code_that_condemns_the_address_is_hard(code: str) -> None:
    assert is_hard(code)


@pytest.mark.parametrize(
    "code", ["5.0.0", "5.1.0", "5.1.8", "5.1.100", "5.2.2", "5.2.3", "5.3.4", "5.4.4", "5.7.1", "5.7.26", "5.1.1 x", ""]
)
def test_a_code_about_the_message_the_sender_or_a_full_mailbox_is_not(code: str) -> None:
    assert not is_hard(code)


@given(st.integers(0, 9), st.integers(0, 999), st.integers(0, 999))
def test_only_permanent_codes_about_the_mailbox_are_hard(kind: int, subject: int, detail: int) -> None:
    if is_hard(f"{kind}.{subject}.{detail}"):
        assert kind == 5
        assert subject in {1, 2}
        assert not is_hard(f"4.{subject}.{detail}")


@given(st.text())
def test_whatever_a_server_writes_in_its_place_is_judged(code: str) -> None:
    assert is_hard(code) in {True, False}
