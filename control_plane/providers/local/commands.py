"""Programs of the machine: argument lists in, text out, `ProviderError` when one fails."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from control_plane.providers.base import ProviderError


def run(arguments: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a program and return its standard output; raise `ProviderError` with what it said when it fails."""
    try:
        finished = subprocess.run(
            arguments, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise ProviderError(f"{arguments[0]} is not installed on this machine") from error
    if finished.returncode != 0:
        said = (finished.stderr or finished.stdout).strip()
        raise ProviderError(f"{' '.join(arguments)} failed ({finished.returncode}): {said}")
    return finished.stdout


def succeeds(arguments: Sequence[str]) -> bool:
    """Whether a program ends with status 0; what it prints is dropped."""
    return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
