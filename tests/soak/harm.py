"""What is done to servers at the end of a soak."""

import os
import signal
import subprocess
from pathlib import Path

from control_plane.providers.local.machine import machine_shell
from control_plane.providers.local.record import load_leader, servers_dir
from control_plane.providers.local.world import World
from tests.flow.spine import Party
from tests.soak.mail import machine_name


def kill(state_dir: Path, party: Party) -> None:
    """Cut the power of the party's server."""
    leader = load_leader(servers_dir(World(state_dir).directory) / machine_name(party))
    os.kill(leader.pid, signal.SIGKILL)


def stop_postfix(state_dir: Path, party: Party) -> None:
    """Stop Postfix on the party's server, as somebody with a shell there does."""
    shell = machine_shell(state_dir, machine_name(party))
    subprocess.run([*shell, "systemctl", "stop", "postfix.service"], capture_output=True, timeout=60, check=True)
