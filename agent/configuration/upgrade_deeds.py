"""Orders for penguin-upgrade: arguments checked, written down, and its unit started; what it does is its own business.

SECURITY: nothing is believed here of a release. What is installed must bear the platform's signature, which the unit
checks against the authority that is pinned on this server.
"""

import base64
import json
import re
import sys
from pathlib import Path

from agent.configuration.told import Refused
from agent.settings import Settings
from mailstack.apply.host import CommandFailed, Host, StoredFile
from protos.agent.v1.commands_pb2 import Command

UNIT = "penguin-upgrade.service"
FOLDER = Settings().upgrade_dir
_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SIGNATURE_BYTES = 64
_MOST_CERTIFICATE_BYTES = 4096
#: Seconds.
_LONGEST_WATCH = 3600.0


def upgrade_agent(command: Command, host: Host) -> str:
    """Order another release."""
    asked = command.upgrade_agent
    sized = len(asked.signature) == _SIGNATURE_BYTES and 0 < len(asked.certificate) <= _MOST_CERTIFICATE_BYTES
    if not (sized and _SHA256.fullmatch(asked.manifest_sha256)):
        raise Refused("that is no signed release")
    if not (0 < asked.patience_seconds <= _LONGEST_WATCH and 0 <= asked.soak_seconds <= _LONGEST_WATCH):
        raise Refused(f"a release is watched for at most {_LONGEST_WATCH:.0f} s")
    order = {
        "back": False,
        "manifest_sha256": asked.manifest_sha256,
        "signature": base64.b64encode(asked.signature).decode(),
        "certificate": base64.b64encode(asked.certificate).decode(),
        "patience_seconds": asked.patience_seconds,
        "soak_seconds": asked.soak_seconds,
    }
    return _order(asked.release, order, host)


def roll_back_agent(command: Command, host: Host) -> str:
    """Order the release before."""
    return _order(command.roll_back_agent.release, {"back": True}, host)


def confirm_release(command: Command, host: Host) -> str:
    """Note that the control plane has heard of this very release."""
    release = command.confirm_release.release
    if release != Path(sys.prefix).name:
        raise Refused("another release runs here")
    host.write(str(FOLDER / "confirmed"), StoredFile(release.encode(), "root", "root", 0o600))
    return "it is known to be heard of"


def _order(release: str, order: dict[str, object], host: Host) -> str:
    """Write it down, unless another is being carried out; the unit takes it away when it is done."""
    if not _RELEASE.fullmatch(release):
        raise Refused("that is no release's name")
    path = str(FOLDER / "order.json")
    found = host.read(path)
    if found is not None:
        pending = json.loads(found.content)
        if (pending["release"], pending["back"]) != (release, order["back"]):
            raise Refused(f"a change to or from {pending['release']} is under way")
    else:
        content = json.dumps({"release": release, **order}).encode()
        host.write(path, StoredFile(content, "root", "root", 0o600))
    argv = ["systemctl", "start", "--no-block", UNIT]
    output = host.run(argv)
    if output.exit_code:
        raise CommandFailed(argv, output)
    return "it is ordered"
