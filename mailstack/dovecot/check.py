"""Dovecot's own validator: `doveconf -n` parses the whole file and resolves what it includes."""

from mailstack.checking import CommandOutput
from mailstack.dovecot.render import CONFIGURATION


def commands(root: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that validate the configuration staged below `root`."""
    return (("doveconf", "-c", f"{root}{CONFIGURATION}", "-n"),)


def complaint(output: CommandOutput) -> str | None:
    """Return what is wrong, or None."""
    return output.last_words if output.exit_code else None
