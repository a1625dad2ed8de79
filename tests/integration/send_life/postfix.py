"""A Postfix that takes, refuses and is cut off as a rule wants, and logs what the real one logs, in its order."""

from collections import Counter
from enum import Enum

from agent.journal.facts import (
    Abandoned,
    Accepted,
    Attempt,
    Fact,
    GaveUp,
    HasMessageId,
    MasterStarted,
    Removed,
    Verdict,
)
from agent.relay.replies import Reply


class Treatment(Enum):
    """What becomes of a message whose first byte has been written."""

    TAKEN = "taken"
    #: Taken, and the queue manager logs it a while later.
    LOGGED_LATE = "logged late"
    REPLY_LOST = "reply lost"
    #: The line is cut and the whole message is still in the kernel's buffer.
    READ_AFTER_THE_CUT = "read after the cut"
    #: Taken in the moments after the master was killed: neither reply nor line.
    TAKEN_UNSAID = "taken unsaid"
    REFUSED_FOR_NOW = "refused for now"
    REFUSED = "refused"
    CUT_BEFORE = "cut before Postfix saw it"
    CUT_MIDWAY = "cut midway"


class Outcome(Enum):
    """What the remote side makes of a message."""

    SENT = Verdict.SENT
    DEFERRED = Verdict.DEFERRED
    BOUNCED = Verdict.BOUNCED
    GAVE_UP = "gave up"


_TAKING = {Treatment.TAKEN, Treatment.LOGGED_LATE, Treatment.REPLY_LOST}
_REFUSALS = {
    Treatment.REFUSED_FOR_NOW: Reply(451, "4.3.0 Error: queue file write error"),
    Treatment.REFUSED: Reply(554, "5.7.1 Message refused"),
}


class Postfix:
    """One server's Postfix; only its master ends, whatever the agent does."""

    def __init__(self) -> None:
        #: How often each send was accepted: what the guarantee is about.
        self.accepted: Counter[bytes] = Counter()
        #: The last word of the remote side for each send that left the queue.
        self.outcomes: dict[bytes, Outcome] = {}
        self.queue: dict[str, bytes] = {}
        self.log: list[Fact] = []
        self._unlogged: list[Accepted] = []
        self._buffered: set[bytes] = set()
        self._next_id = 0

    def receive(self, send_id: bytes, treatment: Treatment, at_ms: int) -> Reply | None:
        """Be given a message; returns the reply, None when the line is lost."""
        if treatment is Treatment.READ_AFTER_THE_CUT:
            self._buffered.add(send_id)
            return None
        if treatment is Treatment.CUT_BEFORE:
            return None
        if treatment is Treatment.TAKEN_UNSAID:
            self.accepted[send_id] += 1
            self.log.append(MasterStarted())
            return None
        queue_id = self._begin(send_id)
        if treatment in _TAKING:
            self._take(queue_id, send_id, at_ms, logged=treatment is not Treatment.LOGGED_LATE)
            taken = Reply(250, f"2.0.0 Ok: queued as {queue_id}")
            return None if treatment is Treatment.REPLY_LOST else taken
        self.log.append(Abandoned(queue_id))
        return _REFUSALS.get(treatment)

    def finish_session(self, send_id: bytes, at_ms: int) -> None:
        """Read what the kernel still holds of a cut session."""
        if send_id in self._buffered:
            self._buffered.remove(send_id)
            self._take(self._begin(send_id), send_id, at_ms, logged=True)

    def finish_sessions(self, at_ms: int) -> None:
        """Read what the kernel holds of all cut sessions."""
        for send_id in sorted(self._buffered):
            self.finish_session(send_id, at_ms)

    def log_late(self) -> None:
        """Have the queue manager log what it took before."""
        self.log += self._unlogged
        self._unlogged.clear()

    def attempt(self, queue_id: str, outcome: Outcome, at_ms: int) -> None:
        """Try to deliver what is in the queue."""
        self.log_late()
        verdict = outcome.value if isinstance(outcome.value, Verdict) else Verdict.DEFERRED
        self.log.append(Attempt(queue_id, at_ms, verdict, "b@walrus.example", "mx:25", "2.0.0", "said", 0.1))
        if outcome is Outcome.DEFERRED:
            return
        if outcome is Outcome.GAVE_UP:
            self.log.append(GaveUp(queue_id, at_ms))
        self.log.append(Removed(queue_id, at_ms))
        self.outcomes[self.queue.pop(queue_id)] = outcome

    def deliver_unsaid(self, queue_id: str) -> None:
        """Deliver it in the moments after the master was told to end, when nobody logs."""
        self.outcomes[self.queue.pop(queue_id)] = Outcome.SENT
        self._unlogged = [fact for fact in self._unlogged if fact.queue_id != queue_id]
        self.log.append(MasterStarted())

    def _begin(self, send_id: bytes) -> str:
        self._next_id += 1
        queue_id = f"Q{self._next_id}"
        self.log.append(HasMessageId(queue_id, send_id))
        return queue_id

    def _take(self, queue_id: str, send_id: bytes, at_ms: int, *, logged: bool) -> None:
        self.accepted[send_id] += 1
        self.queue[queue_id] = send_id
        accepted = Accepted(queue_id, at_ms)
        if logged:
            self.log.append(accepted)
        else:
            self._unlogged.append(accepted)
