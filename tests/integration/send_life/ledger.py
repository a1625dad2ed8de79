"""What the model knows by itself of each send, to hold the database against it (ARCHITECTURE.md §2)."""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from control_plane.delivery.states import FINAL, SETTLED, State
from control_plane.queuer.leased_send import LeasedSend
from tests.integration.send_life.postfix import Outcome, Postfix

#: What a state says the remote side did.
_SAID = {State.DELIVERED: Outcome.SENT, State.BOUNCED: Outcome.BOUNCED, State.EXPIRED: Outcome.GAVE_UP}
#: States that say that nothing was sent.
_NOTHING_SENT = {State.FAILED, State.CANCELLED, State.SUPPRESSED}


@dataclass(frozen=True, slots=True)
class Row:
    """A send as the database has it."""

    id: uuid.UUID
    inbox_id: uuid.UUID | None
    vps_id: uuid.UUID
    state: State
    state_reason: str | None
    recipient: str
    send_at: datetime
    lease_token: uuid.UUID | None
    lease_deadline: datetime | None
    queue_id: str | None
    final_at: datetime | None


@dataclass(slots=True)
class Lease:
    """A lease that was given; the server may give it back before its deadline."""

    token: uuid.UUID
    deadline: datetime
    given_back: bool = False


@dataclass(slots=True)
class Ledger:
    """What was accepted, leased, counted and ended."""

    tolerance: timedelta
    suppressed: set[str] = field(default_factory=set)
    limits: dict[uuid.UUID, int] = field(default_factory=dict)
    #: Inboxes that may send.
    ready: set[uuid.UUID] = field(default_factory=set)
    tenant_is_active: bool = True
    accepted: dict[uuid.UUID, uuid.UUID] = field(default_factory=dict)
    leases: dict[uuid.UUID, list[Lease]] = field(default_factory=lambda: defaultdict(list))
    _counted: dict[tuple[uuid.UUID, date], set[uuid.UUID]] = field(default_factory=lambda: defaultdict(set))
    _ended: dict[uuid.UUID, Row] = field(default_factory=dict)

    def claimed(
        self, sends: Sequence[LeasedSend], rows: Mapping[uuid.UUID, Row], now: datetime, latest: datetime
    ) -> None:
        """Check that these sends could be leased now, and write their leases down.

        `latest` is the latest that the database's clock has ever shown.
        """
        assert len({send.id for send in sends}) == len(sends)
        for send in sends:
            row = rows[send.id]
            assert row.state is State.QUEUED
            assert row.lease_token == send.lease_token
            assert row.send_at <= now
            assert self.tenant_is_active
            assert row.inbox_id in self.ready
            assert row.recipient.lower() not in self.suppressed
            assert send.lease_deadline > now
            self._check_no_lease_runs(send.id, latest)
            self.leases[send.id].append(Lease(send.lease_token, send.lease_deadline))
            assert row.inbox_id is not None
            self._count(send.id, row.inbox_id, now)

    def given_back(self, send_id: uuid.UUID, token: uuid.UUID) -> None:
        """Note that a server gave a lease back."""
        for lease in self.leases[send_id]:
            lease.given_back = lease.given_back or lease.token == token

    def knows_lease(self, send_id: uuid.UUID, token: uuid.UUID, deadline_ms: int) -> bool:
        """Say whether a claim gave this lease."""
        return any(
            lease.token == token and int(lease.deadline.timestamp() * 1000) == deadline_ms
            for lease in self.leases[send_id]
        )

    def check(self, rows: Mapping[uuid.UUID, Row], postfixes: Sequence[Postfix]) -> None:
        """Hold the invariants against everything."""
        assert rows.keys() == self.accepted.keys()
        accepted = [postfix.accepted for postfix in postfixes]
        for send_id, row in rows.items():
            given = sum(counter[send_id.bytes] for counter in accepted)
            assert given <= 1, f"Postfix was given {send_id} {given} times"
            assert (row.final_at is not None) == (row.state in FINAL)
            assert row.state not in _NOTHING_SENT or not given, f"it says {row.state} and Postfix has it"
            if send_id in self._ended:
                assert row == _but_inbox(self._ended[send_id], row), "a settled state was left"
            elif row.state in SETTLED:
                self._ended[send_id] = row
        for postfix in postfixes:
            for told_id, outcome in postfix.outcomes.items():
                said = _SAID.get(rows[uuid.UUID(bytes=told_id)].state)
                assert said in {None, outcome}
        told = {send_id for postfix in postfixes for send_id in postfix.outcomes}
        for row in rows.values():
            assert row.state not in _SAID or row.id.bytes in told, f"nobody knows that it is {row.state}"

    def check_all_ended(self, rows: Mapping[uuid.UUID, Row]) -> None:
        """Nothing stands still when all faults are over."""
        assert {row.id: row.state for row in rows.values() if row.state not in FINAL} == {}

    def _check_no_lease_runs(self, send_id: uuid.UUID, now: datetime) -> None:
        for lease in self.leases[send_id]:
            assert lease.given_back or lease.deadline + self.tolerance < now, "it is under two leases"

    def _count(self, send_id: uuid.UUID, inbox_id: uuid.UUID, now: datetime) -> None:
        counted = self._counted[inbox_id, now.date()]
        if send_id not in counted:
            counted.add(send_id)
            assert len(counted) <= self.limits[inbox_id], "the daily limit was overrun"


def _but_inbox(before: Row, now: Row) -> Row:
    """Return what a final send is still: it forgets its inbox when that is gone, and nothing else."""
    return before if now.inbox_id is not None else replace(before, inbox_id=None)
