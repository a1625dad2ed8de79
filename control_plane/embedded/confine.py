"""Run a command that sees the given directories beneath HOME, wherever they really lie.

    unshare --mount --propagation private python confine.py HOME NAME=DIRECTORY... -- COMMAND...

PostgreSQL refuses to run as root and Redis should not, and their own users often cannot reach a checkout (a home
directory is 0700). So root gives such a daemon a private mount namespace: each DIRECTORY is bound at HOME/NAME, where
HOME is the folder that the daemon's Debian package made, covered by an empty one. Nobody else sees these mounts, and
the kernel removes them with the last process. What the distribution keeps in HOME (its cluster `main`, its dump) is out
of the daemon's sight. Standard library only, for it is started bare.
"""

import os
import subprocess
import sys


def main(arguments: list[str]) -> None:
    """Mount and become the command, in HOME."""
    end = arguments.index("--")
    home, *bindings = arguments[:end]
    command = arguments[end + 1 :]
    _mount("-t", "tmpfs", "-o", "mode=0755,size=64k", "penguinmails", home)
    for binding in bindings:
        name, _, directory = binding.partition("=")
        target = f"{home}/{name}"
        os.mkdir(target)  # noqa: PTH102 - importing pathlib would double the time this takes
        _mount("--bind", directory, target)
    os.chdir(home)
    os.execvp(command[0], command)  # noqa: S606 - becoming the command, without a shell, is the point


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
