"""Enters control groups, then becomes another program: `python -m ...enter_cgroups GROUP... -- PROGRAM ARGUMENT...`.

systemd-nspawn takes the group that it is started in, so it must be there before it starts.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    """Do what the module says; the arguments are the process's own."""
    separator = sys.argv.index("--")
    for group in sys.argv[1:separator]:
        (Path(group) / "cgroup.procs").write_text("0")
    command = sys.argv[separator + 1 :]
    os.execvp(command[0], command)  # noqa: S606 - becoming the program, without a shell, is the purpose


if __name__ == "__main__":
    main()
