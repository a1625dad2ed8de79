import socket

from agent.relay.connections import clients_of, parse_clients

# proc(5): sl, local, remote, state and what follows; 0x2729 is port 10025.
LINES = [
    "   0: 0100007F:2729 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0",
    "   1: 0100007F:2729 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1",
    "   2: 0100007F:2729 0100007F:9C41 08 00000000:00000000 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1",
    "   3: 0100007F:2729 0100007F:9C42 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0",
    "   4: 0100007F:9C40 0100007F:2729 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0 20 4 30 10 -1",
    "   5: 0100007F:0019 0100007F:9C43 01 00000000:00000000 00:00000000 00000000     0        0 5 1 0 20 4 30 10 -1",
]


def test_only_server_ends_that_can_still_be_read_count() -> None:
    assert parse_clients(LINES, 10025) == {0x9C40, 0x9C41}


def test_the_kernel_lists_our_own_connection_until_the_server_closes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        client_port = client.getsockname()[1]
        assert clients_of(port) == {client_port}
        client.close()
        assert clients_of(port) == {client_port}
        accepted, _ = listener.accept()
        assert clients_of(port) == {client_port}
        accepted.close()
        assert clients_of(port) == set()
