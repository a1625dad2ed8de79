"""The agent's journal: what this server has taken, what Postfix has of it, and what is not yet told and confirmed.

SQLite in WAL mode with `synchronous=FULL`: what a caller was told is committed survives a kill and a power cut. One
thread writes; it commits many operations together and then tells each caller. A send's row, the events that its change
of state makes, and the place reached in the mail log always change in one transaction, so after a crash none of them
is ahead of the others.

`states` is the life of a send, `journal` the door for the rest of the agent, `facts` what the mail log can say.

SECURITY: holds whole messages until Postfix has them, so the file is mode 0600 in the agent's own directory.
DIAGNOSTICS: `JournalUnavailable` (disk full, I/O error: try again), `JournalCorrupt` (stop, and tell an operator).
BUGS: rests on the disk's honesty about fsync.
"""

from agent.journal.clock import BootClock, NowMs, wall_ms
from agent.journal.errors import JournalCorrupt, JournalError, JournalUnavailable
from agent.journal.journal import Journal
from agent.journal.records import Counts, InPostfix, Malformed, OpenSend, Refusal, Settled, Taken
from agent.journal.states import Arrival, SendState

__all__ = [
    "Arrival",
    "BootClock",
    "Counts",
    "InPostfix",
    "Journal",
    "JournalCorrupt",
    "JournalError",
    "JournalUnavailable",
    "Malformed",
    "NowMs",
    "OpenSend",
    "Refusal",
    "SendState",
    "Settled",
    "Taken",
    "wall_ms",
]
