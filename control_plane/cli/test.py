"""`test`: the checks and the test suites, as continuous integration runs them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from control_plane.cli.output import FAILED, say
from control_plane.cli.progress import terminal_progress
from control_plane.cli.protos import stale
from control_plane.errors import InvalidInput
from control_plane.processes.places import CHECKOUT, HOME
from control_plane.processes.progress import Progress
from control_plane.providers.local.image import bake
from control_plane.providers.local.recipes import BOOKWORM, TRIXIE

#: Alone these are no pytest suites but harnesses with options of their own; among all suites pytest runs some of each.
_HARNESSES = {"faults": "faults", "provisioning-faults": "provisioning_faults", "soak": "soak"}
SUITES = ("unit", "golden", "integration", "attack", "architecture", "flow", *_HARNESSES)

#: A file to check that does not end in .py.
_SCRIPT = "penguin"
#: Caches of root and of the user lie apart, so that neither finds what it may not write.
_CACHE = HOME / f"cache-{os.geteuid()}"
_CHECKS = (
    ("ruff", "check", ".", _SCRIPT),
    ("ruff", "format", "--check", ".", _SCRIPT),
    ("mypy", "agent", "control_plane", "db", "log_lines", "mailstack", "tests"),
    ("mypy", "--scripts-are-modules", _SCRIPT),
    ("lint-imports", "--cache-dir", str(_CACHE / "import-linter")),
)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUITE] [ARGS]",
        help=f"{', '.join(SUITES)} or all (the default); then pytest's arguments, or those of a harness.",
    ),
]


def check_and_test(words: Words = None) -> None:
    """Check and test. Without a suite: linter, formatter, types, import contracts, generated code, then all suites.

    With a suite, that one alone. Other words go to pytest, as in `penguin test unit -k relay`, or to the harness, as in
    `penguin test faults --seeds 20 --messages 500 --json` or `penguin test provisioning-faults --provider hetzner`.
    """
    suite, arguments = split_words(words or [])
    if suite in _HARNESSES:
        sys.exit(0 if _passes(["python", "-m", f"tests.{_HARNESSES[suite]}", *arguments]) else FAILED)
    failed = [] if suite else _failed_checks()
    if suite in {None, "flow"}:
        _bake_images()
    folders = [f"tests/{_HARNESSES.get(name, name)}" for name in ([suite] if suite else SUITES)]
    if not _passes(["pytest", "-o", f"cache_dir={_CACHE / 'pytest'}", *folders, *arguments]):
        failed.append("pytest")
    if failed:
        say(f"failed: {'; '.join(failed)}")
        sys.exit(FAILED)


def split_words(words: list[str]) -> tuple[str | None, list[str]]:
    """Return the suite (None: all) and what is pytest's; raise `InvalidInput` when the first word is no suite."""
    if not words or words[0].startswith("-"):
        return None, words
    if words[0] == "all":
        return None, words[1:]
    if words[0] not in SUITES:
        raise InvalidInput(f"there is no suite {words[0]!r}; there are {', '.join(SUITES)} and all")
    return words[0], words[1:]


def _bake_images() -> None:
    """Make the Debian images that the flow tests run on, where they are missing; this takes a minute for each, once."""
    with terminal_progress() as progress:
        for recipe in (BOOKWORM, TRIXIE):
            bake(recipe, HOME / "images", partial(_tell_baking, progress, recipe.name))


def _tell_baking(progress: Progress, name: str, line: str) -> None:
    progress.detail(f"baking the image {name} (once): {line}")


def _failed_checks() -> list[str]:
    """Run the checks, all of them whatever they say, and return the names of those that failed."""
    failed = [" ".join(check) for check in _CHECKS if not _passes(check)]
    say("generated code is what `penguin protos` makes")
    if differing := stale():
        say(f"differs: {', '.join(differing)}; run `penguin protos`")
        failed.append("generated code")
    return failed


def _passes(command: Sequence[str]) -> bool:
    """Run a program of the Python environment in the checkout; print what is run."""
    say(" ".join(command))
    program, *arguments = command
    caches = {
        "MYPY_CACHE_DIR": str(_CACHE / "mypy"),
        "RUFF_CACHE_DIR": str(_CACHE / "ruff"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(_CACHE / "hypothesis"),
    }
    whole = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(whole, cwd=CHECKOUT, env=os.environ | caches, check=False).returncode == 0
