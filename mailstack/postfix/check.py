"""Postfix's own validators: `postconf` reads both files and names what would be ignored, `postfix check` the rest.

The latter also makes the queue directories that are missing: on a fresh Debian 13 Dovecot, which is started before
Postfix and opens sockets in there, depends on it.
"""

import re

from mailstack.checking import CommandOutput
from mailstack.postfix.render import DIRECTORY

#: Words by which postconf reports what Postfix would ignore in silence: most often a misspelt name.
_IGNORED = re.compile(r"warning: .*(?:unused parameter|undefined parameter|overriding earlier entry)")


def commands(root: str) -> tuple[tuple[str, ...], ...]:
    """Return the commands that validate the configuration staged below `root`."""
    directory = f"{root}{DIRECTORY}"
    return (
        ("postconf", "-c", directory, "-n"),
        ("postconf", "-c", directory, "-M"),
        ("postconf", "-c", directory, "-P"),
        ("postfix", "-c", directory, "check"),
    )


def complaint(output: CommandOutput) -> str | None:
    """Return what is wrong, or None."""
    ignored = _IGNORED.search(output.stderr)
    if ignored:
        return ignored.group()
    return output.last_words if output.exit_code else None
