"""OpenDKIM's own validator: `opendkim -n` reads the configuration and its tables, and exits."""

from mailstack.checking import CommandOutput
from mailstack.opendkim.render import CONFIGURATION


def commands(root: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that validate the configuration staged below `root`."""
    return (("opendkim", "-n", "-x", f"{root}{CONFIGURATION}"),)


def complaint(output: CommandOutput) -> str | None:
    """Return what is wrong, or None."""
    return output.last_words if output.exit_code else None
