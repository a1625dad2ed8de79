"""How commands speak: results on standard output, everything else on standard error."""

import json
import sys
from typing import Annotated, Any

import typer

#: Exit codes; the script `penguin` adds 3 for what the machine lacks, and typer 2 for wrong usage.
FAILED = 1
NO_INSTALLATION = 4

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show addresses as they are; it is recorded.")]
Instance = Annotated[str, typer.Option(help="Which installation of this checkout.")]


def print_json(value: Any) -> None:  # noqa: ANN401 - whatever json can write
    """Print one JSON value on standard output; times and ids as text."""
    print(json.dumps(value, default=str, indent=2))


def say(line: str) -> None:
    """Print one line on standard error."""
    print(f"penguin: {line}", file=sys.stderr, flush=True)


def tell_outcome(*, ok: bool, sentence: str, as_json: bool) -> None:
    """Print what came of something; end the command as failed when it failed."""
    if as_json:
        print_json({"ok": ok, "sentence": sentence})
    else:
        say(sentence)
    if not ok:
        sys.exit(FAILED)
