"""penguin-upgrade: changes the release that this server's agent runs, and goes back unless the new one does well.

Started by the root half through penguin-upgrade.service, and by the server's start when it was cut short. It runs the
code of the release that was good last (`/opt/penguin-agent/good`), never that of the one it watches:

  1. fetches the release's manifest and wheels and makes it ready beside the one that runs;
  2. switches `current` and restarts the agent, which stops in order: what it has in hand is in its journal;
  3. watches until the control plane has heard of the new one and it has done well for a while (judge.py);
  4. otherwise switches back and starts the one before.

SECURITY: runs as root. Nothing is unpacked before the manifest has the signature of a key that the pinned authority has
certified for releases, and each wheel the manifest's SHA-256; nothing of it is run before that.

DIAGNOSTICS: a line at the beginning and at the end; how it stands is in status.json, which the agent reports.
"""

import logging
import os
import sys

from agent.configuration.change_orders import UnreadableOrder
from agent.identity.own_log import start_own_log
from agent.settings import Settings
from agent.units.bootstrap import INSTALL_DIR
from agent.upgrade.carry_out import CarryingOut
from agent.upgrade.machine import Server
from agent.upgrade.order import Files, Order, SignedManifest, signed_manifest
from agent.upgrade.states import State

logger = logging.getLogger("upgrade")


def main() -> int:
    """Carry out what is ordered; return the exit status."""
    settings = Settings()
    start_own_log(settings.identity_dir)
    files, server = Files(settings.upgrade_dir, signed_manifest), Server()
    try:
        order = files.order()
    except UnreadableOrder as error:
        logger.warning("calls off an order that cannot be read: %s", error)
        CarryingOut(server, files).call_off()
        return 0
    if order is None:
        return 0
    if _current_is_proven(order, files, server):
        server.adopt(server.current())
        os.execv(INSTALL_DIR / "good" / "bin" / "penguin-upgrade", ["penguin-upgrade"])  # noqa: S606 - needs no shell
    logger.info("begins release=%s back=%s", order.release, order.wanted is None)
    ended = CarryingOut(server, files).run(order)
    logger.info("ended release=%s state=%s reason=%s", ended.release, ended.state, ended.reason)
    return 0


def _current_is_proven(order: Order[SignedManifest], files: Files[SignedManifest], server: Server) -> bool:
    """Whether the release that runs, kept until now with a way back, is to do the next upgrade itself."""
    last, current = files.progress(), server.current()
    kept = last is not None and last.state is State.INSTALLED and last.release == current
    return kept and order.wanted is not None and order.release != current and server.good() != current


if __name__ == "__main__":
    sys.exit(main())
