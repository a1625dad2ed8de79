"""OpenDMARC's own validator: `opendmarc -n` parses the configuration and exits."""

from mailstack.checking import CommandOutput
from mailstack.opendmarc.render import CONFIGURATION


def commands(root: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that validate the configuration staged below `root`."""
    return (("opendmarc", "-n", "-c", f"{root}{CONFIGURATION}"),)


def complaint(output: CommandOutput) -> str | None:
    """Return what is wrong, or None."""
    return output.last_words if output.exit_code else None
