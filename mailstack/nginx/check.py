"""nginx' own validator: `nginx -t` parses the configuration, reads the certificate and opens the port, and exits.

A port that is taken, by the nginx that runs, does not count there.
"""

from mailstack.checking import CommandOutput
from mailstack.nginx.render import CONFIGURATION


def commands(root: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that validate the configuration staged below `root`."""
    return (("nginx", "-t", "-q", "-c", f"{root}{CONFIGURATION}"),)


def complaint(output: CommandOutput) -> str | None:
    """Return what is wrong, or None; warnings count, for nobody would see them later."""
    wrong = [line.strip() for line in output.stderr.splitlines() if "[emerg]" in line or "[warn]" in line]
    if wrong:
        return wrong[0]
    return output.last_words if output.exit_code else None
