"""Make a server join over SSH, for Hostwinds documents no user-data: the machine's `ssh`, one connection, one program.

The program of `node join-command` (provisioning/join_program.py) is written to a file that only root reads, and a
systemd unit runs it, so that nobody waits for the installation of packages. While that unit runs nothing is begun.

SECURITY: nothing tells the server's host key beforehand, so the first connection trusts whoever answers at the address
that Hostwinds gave, and keeps that key: a later one that shows another is refused. A server that was installed anew at
our word makes itself another key, so it goes by another name then. Whoever answers in its place gets the join token,
with which they can be that one server, once, for half an hour; the real one is then refused. They do not get the
private key, nor anything else of the installation's.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from control_plane.providers.base import ProviderBusy

_SECONDS = 60.0
_LAST_WORDS = 300
#: ssh(1): its own failure, as opposed to that of the remote command.
_SSH_FAILED = 255
_LAUNCHER = """\
import os, subprocess
if subprocess.run(["systemctl", "--quiet", "is-active", "penguin-join.service"]).returncode:
    path = "/run/penguin-join.py"
    if os.path.exists(path):
        os.remove(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write({program})
    subprocess.run(["systemd-run", "--quiet", "--collect", "--unit=penguin-join", "python3", path], check=True)
"""


@dataclass(frozen=True, slots=True)
class Login:
    """How servers are entered: a private key whose public half Hostwinds has, and where host keys are kept."""

    key_file: Path
    known_hosts: Path
    #: In front of `ssh`, where servers can only be reached from a place of their own.
    enter: tuple[str, ...] = ()


def known_as(name: str, generation: int) -> str:
    """Return what a server's host key is kept under; `generation` counts how often it was installed anew."""
    return f"{name}-rebuilt-{generation}" if generation else name


def ssh_command(login: Login, name: str, address: str) -> list[str]:
    """Return the command; the server is known by its name, for addresses are given again."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "GlobalKnownHostsFile": os.devnull,
        "HostKeyAlias": name,
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(login.known_hosts),
    }
    given = [word for option, value in options.items() for word in ("-o", f"{option}={value}")]
    config = ("-F", os.devnull, "-i", str(login.key_file))
    return [*login.enter, "ssh", *config, *given, "--", f"root@{address}", "python3", "-"]


async def start_joining(login: Login, name: str, address: str, program: str) -> None:
    """Have the program run there; raise `ProviderBusy` when that cannot be done now."""
    launcher = _LAUNCHER.format(program=json.dumps(program)).encode()
    run = await asyncio.create_subprocess_exec(
        *ssh_command(login, name, address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            _, words = await run.communicate(launcher)
    except TimeoutError:
        raise ProviderBusy(f"ssh to {name} ({address}) takes too long", 10.0) from None
    finally:
        if run.returncode is None:
            run.kill()
            await run.wait()
    if run.returncode:
        what = "ssh cannot enter" if run.returncode == _SSH_FAILED else "joining could not be begun on"
        said = " ".join(words.decode(errors="replace").split())[-_LAST_WORDS:]
        raise ProviderBusy(f"{what} {name} ({address}): {said}", 5.0)
