"""Have systemd take up, or take away, the server's further addresses (mailstack/addresses/render.py).

Through systemd, for the root half itself may not touch the network.
"""

from collections.abc import Collection

from mailstack.addresses.render import BATCH, UNIT
from mailstack.apply.host import Host, must_run

_DAEMON_RELOAD = ("systemctl", "daemon-reload")


def take_up(host: Host, touched: Collection[str]) -> None:
    """Bring the addresses in line with their file, if that is among what was touched; raise `CommandFailed`."""
    if BATCH not in touched:
        return
    # A restart would take away addresses that stay; a unit whose file is gone is stopped by what systemd remembers.
    apply = ("systemctl", "reload-or-restart", UNIT)
    commands = (_DAEMON_RELOAD, apply) if host.exists(BATCH) else (("systemctl", "stop", UNIT), _DAEMON_RELOAD)
    for argv in commands:
        must_run(host, argv)
