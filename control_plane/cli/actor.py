"""Who an operator at the command line is: the user of this machine, for the record of acts."""

import os
import pwd

from control_plane.operators.acts import Actor, Door


def this_user() -> Actor:
    """Return the user who runs the command; behind sudo, the one who called it."""
    return Actor(Door.CLI, os.environ.get("SUDO_USER") or _name_of(os.getuid()))


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
