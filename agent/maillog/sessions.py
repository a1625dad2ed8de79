"""Joins lines that only together say something: which message an SMTP server process had in hand when its client left.

Cleanup logs a Message-ID once it has parsed it, which for a message whose client went away is often after the end of
the session. So what was abandoned is remembered, and a Message-ID that comes for it later is passed over.
"""

import json
from collections import deque
from collections.abc import Mapping, Sequence

from agent.journal.facts import Abandoned, Fact, HasMessageId, MasterStarted
from agent.maillog.parse import Began, CutOff, Ended, Entry

#: Abandoned queue ids remembered.
_REMEMBERED = 100


class Sessions:
    """The SMTP server processes that have a message in hand, and the queue ids that were abandoned."""

    def __init__(self, in_hand: Mapping[str, str] | None = None, abandoned: Sequence[str] = ()) -> None:
        self._in_hand = dict(in_hand or {})
        self._abandoned = deque(abandoned, maxlen=_REMEMBERED)

    @classmethod
    def restore(cls, memory: str) -> "Sessions":
        """Return the sessions as they were when `memory` was taken."""
        kept = json.loads(memory)
        return cls(kept["in_hand"], kept["abandoned"])

    def memory(self) -> str:
        """Return what `restore` needs, to be kept with the place in the log."""
        return json.dumps({"in_hand": self._in_hand, "abandoned": list(self._abandoned)})

    def join(self, entry: Entry) -> Fact | None:
        """Return what is known by this line and those before it."""
        match entry:
            case Began():
                self._in_hand[entry.pid] = entry.queue_id
                return None
            case CutOff():
                return self._cut_off(entry)
            case Ended():
                self._in_hand.pop(entry.pid, None)
                return None
            case MasterStarted():
                # Other processes have these numbers now.
                self._in_hand.clear()
                return entry
            case HasMessageId() if entry.queue_id in self._abandoned:
                return None
            case _:
                return entry

    def _cut_off(self, entry: CutOff) -> Abandoned | None:
        queue_id = self._in_hand.pop(entry.pid, None)
        if queue_id is None:
            return None
        self._abandoned.append(queue_id)
        return Abandoned(queue_id)
