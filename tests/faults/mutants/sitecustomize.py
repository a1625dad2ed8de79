"""Makes a process of the control plane a mutant when the harness wishes so; Python imports it by its name at start."""

import os
import sys
from pathlib import Path

_WISH = Path(os.environ.get("FAULTS_MUTANT_FILE", "/nonexistent"))

if _WISH.exists():
    # A process run with -m does not have the checkout on its path yet.
    sys.path.insert(0, os.fspath(Path(__file__).parents[3]))
    from faults_mutants import become  # type: ignore[import-not-found] # it lies beside this file

    become(_WISH.read_text())
