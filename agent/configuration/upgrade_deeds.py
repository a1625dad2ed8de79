"""Orders for penguin-upgrade: arguments checked, written down, and its unit started; what it does is its own business.

SECURITY: nothing is believed here of a release. What is installed must bear the platform's signature, which the unit
checks against the authority that is pinned on this server.
"""

import base64
import re
import sys
from pathlib import Path

from agent.configuration.change_orders import ChangeOrders
from agent.configuration.told import Refused
from agent.settings import Settings
from mailstack.apply.host import Host
from protos.agent.v1.commands_pb2 import Command

UNIT = "penguin-upgrade.service"
FOLDER = Settings().upgrade_dir
_ORDERS = ChangeOrders(FOLDER, UNIT)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNATURE_BYTES = 64
_MOST_CERTIFICATE_BYTES = 4096


def upgrade_agent(command: Command, host: Host) -> str:
    """Order another release."""
    asked = command.upgrade_agent
    sized = len(asked.signature) == _SIGNATURE_BYTES and 0 < len(asked.certificate) <= _MOST_CERTIFICATE_BYTES
    if not (sized and _SHA256.fullmatch(asked.manifest_sha256)):
        raise Refused("that is no signed release")
    wanted = {
        "manifest_sha256": asked.manifest_sha256,
        "signature": base64.b64encode(asked.signature).decode(),
        "certificate": base64.b64encode(asked.certificate).decode(),
    }
    return _ORDERS.forth(asked, wanted, host)


def roll_back_agent(command: Command, host: Host) -> str:
    """Order the release before."""
    return _ORDERS.back(command.roll_back_agent.release, host)


def confirm_release(command: Command, host: Host) -> str:
    """Note that the control plane has heard of this very release."""
    release = command.confirm_release.release
    if release != Path(sys.prefix).name:
        raise Refused("another release runs here")
    return _ORDERS.confirm(release, host)
