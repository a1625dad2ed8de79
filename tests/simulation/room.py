"""Whether this machine can carry so many agents: open files and memory, asked before anything is started."""

import resource

import psutil

#: What a process has open besides its connections.
_OTHER_FILES = 512
#: Of the hub, the agents' processes and the idle streams together, for each agent.
_BYTES_PER_AGENT = 500 * 1024
_OTHER_BYTES = 768 * 1024 * 1024


class NoRoom(Exception):
    """The machine cannot carry so many agents; the message says what it lacks."""


def make_room(agents: int) -> None:
    """Raise the limit of open files for what is started from here. Raises `NoRoom`."""
    _let_open(agents + _OTHER_FILES)
    needed, there = agents * _BYTES_PER_AGENT + _OTHER_BYTES, psutil.virtual_memory().available
    if there < needed:
        raise NoRoom(f"{agents} agents need {needed >> 20} MiB of memory, and {there >> 20} MiB are available")


def _let_open(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= files:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(hard, files)))
    except (ValueError, OSError) as error:
        raise NoRoom(f"one process must have {files} files open, and the limit is {hard} (ulimit -Hn)") from error
