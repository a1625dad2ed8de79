"""Run a command where /opt/penguinmails is the checkout and homes are out of reach, as for the services.

    unshare --mount --propagation private python deployed_root.py CHECKOUT PYTHON -- COMMAND...

PYTHON, what the environment's Python was made from, may itself lie in a home, and stays where it is. Nobody else sees
these mounts, and the kernel removes them with the last process.
"""

import os
import subprocess
import sys


def main(checkout: str, python: str, command: list[str]) -> None:
    """Mount and become the command."""
    _mount("-t", "tmpfs", "-o", "mode=0755", "penguinmails", "/opt")
    _bind(checkout, "/opt/penguinmails")
    _bind(python, "/opt/python")
    for home in ("/root", "/home"):
        _mount("-t", "tmpfs", "-o", "mode=0755", "penguinmails", home)
        if python.startswith(f"{home}/"):
            _bind("/opt/python", python)
    os.chdir("/opt/penguinmails")
    os.execvp(command[0], command)  # noqa: S606 - becoming the command, without a shell, is the point


def _bind(there: str, here: str) -> None:
    os.makedirs(here)  # noqa: PTH103 - importing pathlib would double the time this takes
    _mount("--bind", there, here)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4:])
