"""penguin-packages: brings the mail packages of this server to other versions, and back unless the new ones do well.

Started by the root half through penguin-packages.service, and by the server's start when it was cut short:

  1. holds the mail packages, so that nothing but plans changes them; fetches those of the new versions, which apt
     checks against its signed sources, and makes packages again of what is installed;
  2. installs the new ones, and nothing else. Postfix is away for a moment: what the agent has in hand is in its journal
     and tried again, what is in Postfix's queue stays there;
  3. watches until the control plane has heard of it and all services have done well for a while;
  4. otherwise installs those of before.

SECURITY: runs as root. Names are of a closed list and versions have a version's form (mailstack/packages.py), both
looked at where they are read; commands are argument lists. Packages come from the server's own signed sources alone.

DIAGNOSTICS: a line at the beginning and at the end; how it stands is in status.json, which the agent reports.
"""

import logging
import sys

from agent.configuration.change_orders import UnreadableOrder
from agent.identity.own_log import start_own_log
from agent.packages.machine import Packages, wanted_versions
from agent.settings import Settings
from agent.upgrade.carry_out import CarryingOut
from agent.upgrade.order import Files

logger = logging.getLogger("packages")


def main() -> int:
    """Carry out what is ordered; return the exit status."""
    settings = Settings()
    start_own_log(settings.identity_dir)
    files = Files(settings.packages_dir, wanted_versions)
    carrying_out = CarryingOut(Packages(settings.packages_dir), files)
    try:
        order = files.order()
    except UnreadableOrder as error:
        logger.warning("calls off an order that cannot be read: %s", error)
        carrying_out.call_off()
        return 0
    if order is None:
        return 0
    logger.info("begins change=%s back=%s", order.release, order.wanted is None)
    ended = carrying_out.run(order)
    logger.info("ended change=%s state=%s reason=%s", ended.release, ended.state, ended.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())
