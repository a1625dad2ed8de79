"""The kernel's list of TCP connections: whether Postfix still has an end of one of ours."""

from collections.abc import Iterable
from pathlib import Path

_LISTS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: States in which the program behind a socket may still read from it: ESTABLISHED and CLOSE_WAIT.
_READABLE = frozenset({"01", "08"})


def clients_of(port: int) -> frozenset[int]:
    """Return the client ports of the connections whose server end, on this machine, is at `port` and still open."""
    lines: list[str] = []
    for path in _LISTS:
        if path.exists():
            lines += path.read_text(encoding="ascii").splitlines()[1:]
    return parse_clients(lines, port)


def parse_clients(lines: Iterable[str], port: int) -> frozenset[int]:
    """Return the same from the lines of /proc/net/tcp (proc(5)), without their heading."""
    clients = set()
    for line in lines:
        _, local, remote, state, *_ = line.split()
        if state in _READABLE and int(local.rpartition(":")[2], 16) == port:
            clients.add(int(remote.rpartition(":")[2], 16))
    return frozenset(clients)
