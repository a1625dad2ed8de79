"""penguin-backup: backs the mailboxes of this server up, and brings one back. One run does all that is asked.

The root half writes down what the control plane asks for, a file each in /var/lib/penguin-backup/asked, and systemd
runs this while there is one (penguin-backup.path). A file is taken away before it is acted on: what a crash cut off is
not begun again, and the control plane sees that no backup came of it. `list ADDRESS` prints what there is of a mailbox.

SECURITY: runs as root, for mailboxes belong to an account that nobody is. Where backups go, and what encrypts them,
stands in /etc/penguin/backup.json, for root alone. Nobody but who has that password can read a backup.

DIAGNOSTICS: one log line for each thing asked (journalctl -u penguin-backup); the last outcomes in
/var/lib/penguin-backup/status.json, which the health report shows. Exit status 0 but for a crash.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from agent.backup import status
from agent.backup.back_up import back_up
from agent.backup.bring_back import bring_back
from agent.backup.order import Asked, Order, read_order, take_asked
from agent.backup.places import Places
from agent.backup.restic import Restic, ResticFailed
from agent.backup.status import Status
from agent.identity.own_log import start_own_log
from agent.settings import Settings
from agent.status_writer import write_status
from mailstack import layout

_log = logging.getLogger(__name__)


def main() -> int:
    """Read the command line; do what is asked, or list."""
    parser = argparse.ArgumentParser(prog="penguin-backup", description="Backs the mailboxes of this server up.")
    parser.add_argument("command", nargs="?", choices=["list"], help="print what there is of a mailbox, and end")
    parser.add_argument("address", nargs="?", default="", help="the mailbox; all when left out")
    parser.add_argument("--server", default="", help="the server that saved it; this one when left out")
    arguments = parser.parse_args()
    order, places = read_order(Path(layout.BACKUP_ORDER)), Places()
    if arguments.command == "list":
        return _list(order, places, arguments.address, arguments.server)
    settings = Settings()
    start_own_log(settings.identity_dir)
    while asked := take_asked(places.asked):
        after = perform(asked, order, places, status.load(settings.backup_status))
        write_status(settings.backup_status, after)
        _log.info("%s", after.restore_detail if asked.address else after.detail)
    return 0


def perform(asked: Asked, order: Order | None, places: Places, before: Status) -> Status:
    """Do it and return how it stands then."""
    if order is None:
        return before
    restic = Restic(order, places.cache, asked.server)
    if asked.address:
        return bring_back(restic, asked, places, before)
    return back_up(restic, order, places, before)


def _list(order: Order | None, places: Places, address: str, server: str) -> int:
    if order is None:
        print("mailboxes of this server are not backed up", file=sys.stderr)
        return 1
    try:
        found = Restic(order, places.cache, server).snapshots(address)
    except ResticFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([{"id": each.id, "at": each.at.isoformat(), "inbox": each.address} for each in found]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
