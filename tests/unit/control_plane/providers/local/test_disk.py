import ipaddress

from control_plane.providers.local.disk import hosts_file


def test_a_server_knows_its_own_name_and_both_loopbacks_without_dns() -> None:
    lines = hosts_file("mx1.penguin.example", ipaddress.IPv4Address("10.77.1.1")).splitlines()
    assert "127.0.0.1 localhost" in lines
    assert "10.77.1.1 mx1.penguin.example mx1" in lines
    assert any(line.startswith("::1 localhost") for line in lines)
