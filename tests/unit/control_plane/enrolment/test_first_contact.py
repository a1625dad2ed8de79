import pytest

from control_plane.enrolment.first_contact import ipv4_of_peer


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:40312", "192.0.2.7"),
        ("ipv6:[::ffff:192.0.2.7]:40312", "192.0.2.7"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:40312", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:40312", None),
        ("ipv4:999.0.2.7:1", None),
        ("unix:", None),
    ],
)
def test_the_address_is_in_grpcs_name_of_the_other_side(peer: str, address: str | None) -> None:
    assert ipv4_of_peer(peer) == address
