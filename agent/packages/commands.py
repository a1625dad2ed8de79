"""How programs are run to change packages: nobody is asked anything, and nothing is waited for without end."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mailstack.checking import CommandOutput

#: Files of ours stay as they are, and nothing else is restarted (debconf, ucf, needrestart).
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "UCF_FORCE_CONFFOLD": "1",
    "NEEDRESTART_SUSPEND": "1",
}


def run(argv: Sequence[str], seconds: float, folder: Path = Path("/")) -> CommandOutput:
    """Run a command to its end, or end it and all it has begun after so many seconds; return how it ended.

    Its output goes through files, for a daemon that it leaves behind would hold a pipe open.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=_ENVIRONMENT,
            cwd=folder,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        stdout.seek(0)
        stderr.seek(0)
        told, complained = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    return CommandOutput(process.returncode, told, complained)
