"""Orders for penguin-packages: arguments checked, written down, and its unit started.

SECURITY: nothing but names of a closed list and versions of a version's form is written down, and the unit looks again.
"""

import json

from agent.configuration.change_orders import ChangeOrders
from agent.configuration.told import Refused
from agent.settings import Settings
from mailstack.apply.host import Host
from mailstack.packages import checked_versions
from mailstack.syntax import InvalidSpec
from protos.agent.v1.commands_pb2 import Command

UNIT = "penguin-packages.service"
FOLDER = Settings().packages_dir
_ORDERS = ChangeOrders(FOLDER, UNIT)


def change_packages(command: Command, host: Host) -> str:
    """Order other versions."""
    asked = command.change_packages
    try:
        wanted = checked_versions({each.name: tuple(each.versions) for each in asked.packages})
    except InvalidSpec as error:
        raise Refused(str(error)) from error
    return _ORDERS.forth(asked, {"packages": wanted}, host)


def roll_back_packages(command: Command, host: Host) -> str:
    """Order the versions before."""
    return _ORDERS.back(command.roll_back_packages.release, host)


def confirm_packages(command: Command, host: Host) -> str:
    """Note that the control plane has heard of this very change."""
    change = command.confirm_packages.release
    if _changed_last(host) != change:
        raise Refused("another change was made here last")
    return _ORDERS.confirm(change, host)


def _changed_last(host: Host) -> object:
    """Return the name of the last change; None where there was none, or its file cannot be read."""
    found = host.read(str(FOLDER / "status.json"))
    try:
        return json.loads(found.content)["release"] if found is not None else None
    except (ValueError, KeyError, TypeError):
        return None
