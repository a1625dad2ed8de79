"""What an event does to a send: pure, so that every order of events can be tried."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from control_plane.delivery.events import Event
from control_plane.delivery.states import FINAL, TRANSITIONS, Kind, State


@dataclass(frozen=True, slots=True)
class Progress:
    """The columns of a send that events move."""

    state: State
    lease_token: uuid.UUID | None
    reason: str | None = None
    queue_id: str | None = None
    relayed_at: datetime | None = None
    final_at: datetime | None = None
    #: Nobody would lease it again.
    inbox_gone: bool = False


def advance(progress: Progress, event: Event) -> Progress | None:
    """Return the send after the event, or None when the event has no effect.

    It has none under another lease than the send's last (ARCHITECTURE.md, invariant 2), and none that
    `states.TRANSITIONS` does not name.
    """
    if event.lease_token != progress.lease_token:
        return None
    state = TRANSITIONS.get((progress.state, event.kind))
    if state is None:
        return None
    if event.kind is Kind.LEASE_EXPIRED and (progress.inbox_gone or state is State.CANCELLED):
        why = "its inbox was removed" if progress.inbox_gone else "given up before; its server never submitted it"
        return replace(progress, state=State.CANCELLED, reason=why, final_at=event.at)
    return replace(
        progress,
        state=state,
        reason=event.reason if state in FINAL and state is not State.DELIVERED else None,
        queue_id=event.queue_id or progress.queue_id,
        relayed_at=event.at if event.kind is Kind.RELAYED else progress.relayed_at,
        final_at=event.at if state in FINAL else None,
    )
