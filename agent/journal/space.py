"""Whether the journal's disk has room for what is in hand.

The last of it is kept for telling what became of that: a disk that is full to the last byte would leave the journal and
Postfix's log without a word of it.
"""

import os
from pathlib import Path

#: Bytes that are left alone. More than Postfix leaves (1.5 times its message_size_limit), so that sends stay in the
#: queue rather than be taken and refused.
RESERVE = 32 * 1024 * 1024
#: Of a very small disk: so much of it.
_SMALL_SHARE = 0.1


def is_short_of_space(directory: Path) -> bool:
    """Return whether so little is left for ordinary users that nothing more should be taken."""
    try:
        status = os.statvfs(directory)
    except OSError:
        return True
    reserve = min(RESERVE, status.f_blocks * status.f_frsize * _SMALL_SHARE)
    return status.f_bavail * status.f_frsize < reserve
