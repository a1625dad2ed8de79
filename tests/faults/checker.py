"""Compares what the API accepted, what the sink took and what the database says. Pure.

lost: accepted, and neither at the sink nor refused as planned nor openly uncertain.
repeated: a copy came after one whose reply was heard, or under another Postfix queue id.
ghost: at the sink or in the database, and never asked for, or not what was asked for.
lied: the state says what is not so, or it was handed to Postfix when its lease was over.
stuck: no final state in time. uncertain: the state says so.
ambiguous: copied again after a reply that may not have been heard, which nobody can prevent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.plan import Order, Temper

#: Postfix's digits of times in queue ids (global/mail_queue.h: MQID_LG_SEC_BASE).
_DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"

FINAL = frozenset({"delivered", "bounced", "expired", "failed", "cancelled", "suppressed", "uncertain"})
#: States that say that no remote server has it.
_NOT_SENT = frozenset({"bounced", "expired", "failed", "cancelled", "suppressed"})


@dataclass(frozen=True, slots=True)
class Row:
    """A send in the database."""

    send_id: str
    recipient: str
    message_id: str
    state: str
    body_sha256: str
    #: When its last lease ends, in seconds since the epoch; 0 for one that was never leased.
    lease_deadline: float = float("inf")


@dataclass(frozen=True, slots=True)
class Copy:
    """A message at the sink; `heard`: the client has read the reply for it."""

    message_id: str
    queue_id: str
    recipient: str
    body_sha256: str
    heard: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything known of one run: accepted ids with what was ordered, rows, and copies in the order of arrival."""

    accepted: Mapping[str, Order]
    rows: Sequence[Row]
    copies: Sequence[Copy]
    #: Ids that the test withdrew; whether or not they were sent, their state must be true.
    withdrawn: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, by ids (of a ghost at the sink, its Message-ID)."""

    accepted: int = 0
    delivered: int = 0
    lost: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    ghost: tuple[str, ...] = ()
    lied: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the guarantee was kept."""
        return not (self.lost or self.repeated or self.ghost or self.lied or self.stuck)

    def wrong(self) -> dict[str, tuple[str, ...]]:
        """Return the ids by kind."""
        kinds = ("lost", "repeated", "ghost", "lied", "stuck", "uncertain", "ambiguous")
        return {kind: getattr(self, kind) for kind in kinds}

    def counts(self) -> dict[str, int]:
        """Return each kind's number."""
        return {"accepted": self.accepted, "delivered": self.delivered} | {
            kind: len(ids) for kind, ids in self.wrong().items()
        }

    def summary(self) -> str:
        """Return the numbers that are not 0, in words."""
        return ", ".join(f"{count} {kind}" for kind, count in self.counts().items() if count) or "nothing"


@dataclass(slots=True)
class _Findings:
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, kind: str, what: str, *, wrong: bool) -> None:
        if wrong:
            self.found[kind].append(what)

    def verdict(self, accepted: int, delivered: int) -> Verdict:
        return Verdict(accepted, delivered, **{kind: tuple(ids) for kind, ids in self.found.items()})


def check(facts: Facts) -> Verdict:
    """Return what is wrong."""
    findings = _Findings()
    rows = {row.send_id: row for row in facts.rows}
    known = {row.message_id: row for row in facts.rows if row.send_id in facts.accepted}
    right, ghosts = _sort_out(known, facts.copies)
    for message_id in ghosts:
        findings.note("ghost", message_id, wrong=True)
    for send_id in rows.keys() - facts.accepted.keys():
        findings.note("ghost", send_id, wrong=True)
    for send_id, order in facts.accepted.items():
        row = rows.get(send_id)
        copies = right.get(row.message_id, []) if row else []
        _judge(findings, send_id, order, row, copies, withdrawn=send_id in facts.withdrawn)
    states = (rows[send_id].state for send_id in facts.accepted if send_id in rows)
    return findings.verdict(len(facts.accepted), sum(state == "delivered" for state in states))


def _sort_out(known: Mapping[str, Row], copies: Iterable[Copy]) -> tuple[dict[str, list[Copy]], list[str]]:
    """Return the copies of what was asked for, by Message-ID, and the Message-IDs of the others."""
    right: dict[str, list[Copy]] = defaultdict(list)
    ghosts = []
    for copy in copies:
        row = known.get(copy.message_id)
        if row is not None and (row.recipient, row.body_sha256) == (copy.recipient, copy.body_sha256):
            right[copy.message_id].append(copy)
        else:
            ghosts.append(copy.message_id)
    return right, ghosts


def _judge(
    findings: _Findings, send_id: str, order: Order, row: Row | None, copies: Sequence[Copy], *, withdrawn: bool
) -> None:
    state = row.state if row else None
    excused = (
        state == "uncertain"
        or (state == "bounced" and order.temper is Temper.REFUSES)
        or (state in {"cancelled", "suppressed"} and withdrawn)
    )
    is_stuck = state is not None and state not in FINAL
    was_heard = any(copy.heard for copy in copies)
    is_repeated = _is_repeated(copies)
    findings.note("lost", send_id, wrong=not copies and not excused and not is_stuck)
    findings.note("repeated", send_id, wrong=is_repeated)
    findings.note("ambiguous", send_id, wrong=len(copies) > 1 and not is_repeated)
    findings.note("stuck", send_id, wrong=is_stuck)
    findings.note("uncertain", send_id, wrong=state == "uncertain")
    is_late = row is not None and any((queued_at(copy.queue_id) or 0.0) > row.lease_deadline for copy in copies)
    denied = (state == "delivered" and not copies) or (state in _NOT_SENT and was_heard)
    findings.note("lied", send_id, wrong=denied or is_late)


def _is_repeated(copies: Sequence[Copy]) -> bool:
    """Whether Postfix had it twice, or sent it again though the reply was heard."""
    return len({copy.queue_id for copy in copies}) > 1 or any(copy.heard for copy in copies[:-1])


def queued_at(queue_id: str) -> float | None:
    """Return when Postfix began a message, in seconds since the epoch, as long queue ids tell; None for another."""
    time_part = queue_id.rpartition("z")[0]
    if len(time_part) < 10 or not set(time_part) <= set(_DIGITS):
        return None
    return _number(time_part[:-4]) + _number(time_part[-4:]) / 1e6


def _number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    return number
