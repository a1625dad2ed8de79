"""Any sequence of what can happen to a send, against the promises of ARCHITECTURE.md §2."""

import sqlite3
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.journal import BootClock, Refusal, SendState, Settled, hearing, sends, settling, spool
from agent.journal.facts import Abandoned, Accepted, Attempt, HasMessageId, LogCursor, Removed, Verdict
from agent.journal.records import TakenAt
from agent.journal.schema import _TABLES
from agent.journal.states import FINAL, IN_HAND
from protos.agent.v1.delivery_pb2 import DeliveryEvent
from tests.unit.agent.journal.envelopes import leased_again, make_envelope, taken

CURSOR = LogCursor(1, 1, b"", "{}")
FINAL_KINDS = {
    DeliveryEvent.KIND_DELIVERED,
    DeliveryEvent.KIND_BOUNCED,
    DeliveryEvent.KIND_EXPIRED,
    DeliveryEvent.KIND_LEASE_EXPIRED,
    DeliveryEvent.KIND_FAILED,
    DeliveryEvent.KIND_UNCERTAIN,
}
queue_ids = st.sampled_from(["Q1", "Q2"])


class SendLife(RuleBasedStateMachine):
    """One send; Postfix takes it only between `begin` and what ends a submission."""

    @initialize()
    def start(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(_TABLES)
        self.leases = [make_envelope()]
        self.now = 1000
        self.began = 0
        self.given_back = 0
        self.take_new()

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    @property
    def send_id(self) -> bytes:
        return self.leases[0].send_id

    @property
    def taken_at(self) -> TakenAt:
        return TakenAt(self.now, BootClock("this boot", lambda: self.now))

    @property
    def row(self) -> sends.SendRow:
        row = sends.find_send(self.connection, self.send_id)
        assert row is not None
        return row

    def take_new(self) -> None:
        sends.take(self.connection, taken(self.leases[-1]), self.taken_at)

    @rule(number=st.integers(0, 5))
    def envelope_comes_again(self, number: int) -> None:
        sends.take(self.connection, taken(self.leases[number % len(self.leases)]), self.taken_at)

    @rule()
    def leased_again(self) -> None:
        self.leases.append(leased_again(self.leases[-1]))
        self.take_new()

    @rule()
    def begin(self) -> None:
        if sends.begin_submission(self.connection, self.send_id, self.now):
            self.began += 1

    @rule()
    def give_back(self) -> None:
        self.given_back += sends.take_back(self.connection, self.send_id, self.now)

    @rule()
    def settle(self) -> None:
        if settling.settle(self.connection, self.send_id, self.now) is Settled.NOT_TAKEN:
            self.given_back += 1

    @rule(queue_id=queue_ids)
    def reply(self, queue_id: str) -> None:
        sends.relay(self.connection, self.send_id, queue_id, self.now)

    @rule(state=st.sampled_from(sorted(FINAL)))
    def end(self, state: SendState) -> None:
        sends.end(self.connection, self.send_id, Refusal(state, "why"), self.now)

    @rule(queue_id=queue_ids, verdict=st.sampled_from(Verdict), what=st.integers(0, 4))
    def log_line(self, queue_id: str, verdict: Verdict, what: int) -> None:
        fact = (
            HasMessageId(queue_id, self.send_id),
            Accepted(queue_id, self.now),
            Abandoned(queue_id),
            Attempt(queue_id, self.now, verdict, "b@x.test", "mx", "2.0.0", "ok", 0.1),
            Removed(queue_id, self.now),
        )[what]
        hearing.hear(self.connection, [fact], CURSOR, 0)

    @rule()
    def forget(self) -> None:
        self.now += 1
        settling.forget_old(self.connection, self.now)

    @invariant()
    def the_envelope_is_kept_exactly_while_it_may_be_submitted(self) -> None:
        kept = self.connection.execute("SELECT count(*) FROM envelopes").fetchone()[0]
        assert kept == (self.row.state in IN_HAND)

    @invariant()
    def it_is_submitted_again_only_after_it_was_given_back(self) -> None:
        # Whatever ended a submission without giving it back never lets another begin, but a refusal by Postfix.
        ended = sum(
            event.kind in {DeliveryEvent.KIND_LEASE_EXPIRED, DeliveryEvent.KIND_FAILED} for event in self.events()
        )
        assert self.began <= self.given_back + ended + 1

    @invariant()
    def every_state_but_those_in_hand_was_told_under_the_present_lease(self) -> None:
        told = {event.kind for event in self.events() if event.lease_token == self.row.lease_token}
        if self.row.state in FINAL:
            assert told & FINAL_KINDS
        if self.row.state is SendState.RELAYED:
            assert DeliveryEvent.KIND_RELAYED in told

    @invariant()
    def no_event_has_the_id_of_another(self) -> None:
        assert all(count == 1 for count in Counter(event.event_id for event in self.events()).values())

    @invariant()
    def nothing_follows_a_delivery_under_its_lease(self) -> None:
        kinds = [event.kind for event in self.events() if event.lease_token == self.row.lease_token]
        if DeliveryEvent.KIND_DELIVERED in kinds:
            assert kinds[-1] == DeliveryEvent.KIND_DELIVERED
            assert self.row.state is SendState.DELIVERED

    def events(self) -> list[DeliveryEvent]:
        return spool.oldest_events(self.connection, 1000)


TestSendLife = SendLife.TestCase
TestSendLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
