"""The checks of a server: what its last report, our own look at its ports, and what is kept about it mean. Pure.

What a silent server said last proves nothing about now: then only our own look and what we know ourselves count.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from control_plane.fleet.disks import NEARLY_FULL, Room, first_to_end, rooms
from control_plane.fleet.hearing import SILENT
from control_plane.fleet.units import passing_units, stopped_units
from control_plane.monitoring.agent_memory import leak
from control_plane.monitoring.probe import Look
from control_plane.monitoring.states import Check, Finding, State, worst
from protos.agent.v1.telemetry_pb2 import HealthReport, SigningTest

#: Shares of a disk that are used.
DISK_WARN, DISK_FAIL = NEARLY_FULL, 0.9
#: How long a disk must last at its present pace; and how long one of which little is left.
FULL_SOON, FULL_NOW = dt.timedelta(hours=24), dt.timedelta(hours=1)
#: What is left of a certificate.
CERTIFICATE_WARN, CERTIFICATE_FAIL = dt.timedelta(days=14), dt.timedelta(days=3)
#: Postfix gives a message up after five days by default; one that old in the queue will never go.
OLDEST_WARN, OLDEST_FAIL = dt.timedelta(hours=6), dt.timedelta(days=3)
#: Attempts deferred, of so many at least.
DEFERRED_WARN, DEFERRED_FAIL, ENOUGH_ATTEMPTS = 0.3, 0.8, 20
#: How old the newest backup of mailboxes may be: a day, and what it may take.
BACKUP_FAIL = dt.timedelta(hours=26)
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Facts:
    """Whatever is known of one server."""

    now: dt.datetime
    last_seen_at: dt.datetime | None
    #: Who was last heard of before this may be silent because no hub listened (fleet/hearing.py).
    excused_before: dt.datetime = _LONG_AGO
    cloned_at: dt.datetime | None = None
    report: HealthReport | None = None
    #: By port; without any nobody looked.
    looks: Mapping[int, Look] = field(default_factory=dict)
    #: Verdict and sentences of what was asked before its use (control_plane/preflight), by kind.
    preflight: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    #: Records of its inboxes' domains: how many there are, how many are not as they should be.
    dns_records: int = 0
    dns_wrong: int = 0
    dkim_records: int = 0
    dkim_wrong: int = 0
    clock_offset_ms: int | None = None
    clock_tolerance_seconds: float = 10.0
    agent_version: str | None = None
    #: That which most servers run.
    usual_version: str | None = None
    desired_version: int = 0
    applied_version: int = 0
    mail_server_status: str = "running"
    #: Since when its mailboxes are to be backed up; None for not.
    backed_up_since: dt.datetime | None = None
    #: Octets that its agent took in whole hours that follow each other, the mean of each, oldest first.
    agent_memory: Sequence[float] = ()
    #: Of the last roll-up, by name.
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def reachable(self) -> bool:
        """Whether it was heard of lately."""
        return self.last_seen_at is not None and self.now - self.last_seen_at <= SILENT

    @property
    def said(self) -> HealthReport | None:
        """Its last report, while it counts."""
        return self.report if self.reachable else None


def check_all(facts: Facts) -> list[Finding]:
    """Return the finding of each check."""
    return [check(facts) for check in _CHECKS]


def check_reachable(facts: Facts) -> Finding:
    """Whether its agent is heard of; a port that answers tells that the server itself is there."""
    if facts.reachable:
        return Finding(Check.REACHABLE, State.OK, "Its agent is heard of.")
    if (facts.last_seen_at or _LONG_AGO) < facts.excused_before:
        return Finding(Check.REACHABLE, State.UNKNOWN, "Nobody listened to servers just now.")
    silent = None if facts.last_seen_at is None else (facts.now - facts.last_seen_at).total_seconds()
    since = "It was never heard of" if silent is None else f"It was last heard of {_duration(silent)} ago"
    if any(not look.error for look in facts.looks.values()):
        return Finding(Check.REACHABLE, State.FAIL, f"{since}, but its mail server answers: its agent is away.", silent)
    return Finding(Check.REACHABLE, State.FAIL, f"{since}.", silent)


def check_mail_server(facts: Facts) -> Finding:
    """Whether its daemons run and its doors answer."""
    if shut := [str(port) for port, look in sorted(facts.looks.items()) if look.error]:
        sentence = f"Nobody answers on port {', '.join(shut)}."
        return Finding(Check.MAIL_SERVER, State.FAIL, sentence, float(len(shut)))
    report = facts.said
    if report is None or not report.units:
        if facts.looks:
            return Finding(Check.MAIL_SERVER, State.OK, "All its ports answer.")
        return Finding(Check.MAIL_SERVER, State.UNKNOWN, "Nobody can tell whether its mail server runs.")
    return _daemons(report) or _configured(facts)


def _daemons(report: HealthReport) -> Finding | None:
    if stopped := stopped_units(report):
        return Finding(Check.MAIL_SERVER, State.FAIL, f"{', '.join(stopped)} does not run.", float(len(stopped)))
    if passing := passing_units(report):
        sentence = f"{', '.join(passing)} is being started or stopped."
        return Finding(Check.MAIL_SERVER, State.WARN, sentence, float(len(passing)))
    return None


def _configured(facts: Facts) -> Finding:
    if facts.mail_server_status in {"refused", "rolled_back"}:
        return Finding(Check.MAIL_SERVER, State.WARN, f"Its last configuration was {facts.mail_server_status}.")
    return Finding(Check.MAIL_SERVER, State.OK, "Its mail server runs.")


def check_ssl(facts: Facts) -> Finding:
    """How long the certificates last that its ports show, as we see them, or else as its agent does."""
    ends, errors = _certificates(facts)
    if errors:
        return Finding(Check.SSL, State.FAIL, f"No certificate is shown: {errors[0]}.")
    if not ends:
        return Finding(Check.SSL, State.UNKNOWN, "Nobody could look at its certificates.")
    left = min(ends) - facts.now
    days = left.total_seconds() / 86_400
    if left <= dt.timedelta(0):
        return Finding(Check.SSL, State.FAIL, "Its certificate has expired.", days)
    state = _state(-days, -CERTIFICATE_WARN.days, -CERTIFICATE_FAIL.days)
    sentence = f"Its certificate lasts {_duration(left.total_seconds())}"
    if names := _uncertified(facts):
        state = State.FAIL if state is State.FAIL else State.WARN
        sentence += f", and is not for {', '.join(names)}"
    if broken := _broken_chains(facts):
        state = State.FAIL if state is State.FAIL else State.WARN
        sentence += f", and is shown {broken}"
    return Finding(Check.SSL, state, f"{sentence}.", days)


def check_disk(facts: Facts) -> Finding:
    """How full its disks are, of space and of inodes, and which of them is full soon."""
    report = facts.said
    if report is None or not report.disks:
        return Finding(Check.DISK, State.UNKNOWN, "It does not tell how full its disks are.")
    found = list(rooms(report.disks))
    fullest = max(found, key=lambda room: room.used)
    full = "is {:.0%} full" if fullest.is_space else "has {:.0%} of its inodes in use"
    sentence = f"{fullest.mount} {full.format(fullest.used)}{_full_soon(found, fullest.mount)}."
    return Finding(Check.DISK, worst(_room_state(room) for room in found), sentence, fullest.used)


def _room_state(room: Room) -> State:
    state = _state(room.used, DISK_WARN, DISK_FAIL)
    if room.lasts is None or room.lasts > FULL_SOON.total_seconds():
        return state
    is_now = state is State.FAIL or (state is State.WARN and room.lasts <= FULL_NOW.total_seconds())
    return State.FAIL if is_now else State.WARN


def _full_soon(found: Sequence[Room], fullest: str) -> str:
    """Say what runs out first, where that is soon; its mount only where it is not the fullest, which was named."""
    first = first_to_end(found)
    if first is None or first[1] > FULL_SOON.total_seconds():
        return ""
    room, seconds = first
    mount = "" if room.mount == fullest else f"{room.mount} "
    return f", and {mount}{'full' if room.is_space else 'out of inodes'} in {_duration(seconds)}"


def check_queue(facts: Facts) -> Finding:
    """Whether what it has to send goes."""
    report = facts.said
    if report is None or not report.HasField("postfix_queue"):
        return Finding(Check.QUEUE, State.UNKNOWN, "It does not tell what waits in its queue.")
    queue = report.postfix_queue
    waiting = queue.incoming + queue.active + queue.deferred + queue.hold
    oldest = _state(queue.oldest_seconds, OLDEST_WARN.total_seconds(), OLDEST_FAIL.total_seconds())
    deferred = State.OK
    if sum(facts.metrics.get(each, 0) for each in ("delivered", "deferred", "bounced")) >= ENOUGH_ATTEMPTS:
        deferred = _state(facts.metrics.get("deferred_ratio", 0.0), DEFERRED_WARN, DEFERRED_FAIL)
    sentence = f"{waiting} messages wait, the oldest since {_duration(queue.oldest_seconds)}"
    if deferred is not State.OK:
        sentence += f", and {facts.metrics['deferred_ratio']:.0%} of its attempts are deferred"
    if report.relay.journal_fault:
        return Finding(Check.QUEUE, State.FAIL, f"It takes nothing: {report.relay.journal_fault}.", float(waiting))
    damaged = State.WARN if queue.corrupt else State.OK
    if queue.corrupt:
        sentence += f", and {queue.corrupt} that Postfix could not read were set aside"
    return Finding(Check.QUEUE, worst((oldest, deferred, damaged)), f"{sentence}.", float(waiting))


def check_port_25(facts: Facts) -> Finding:
    """Whether mail can leave its network, as found when it was last looked at."""
    return _kept(facts, Check.PORT_25, "port_25")


def check_ptr(facts: Facts) -> Finding:
    """Whether its address has its name."""
    return _kept(facts, Check.PTR, "reverse_dns")


def check_blocklist(facts: Facts) -> Finding:
    """Whether its address is on a list."""
    return _kept(facts, Check.BLOCKLIST, "blocklist")


def check_dns(facts: Facts) -> Finding:
    """Whether the records of its inboxes' domains are what they should be."""
    return _records(Check.DNS, facts.dns_records, facts.dns_wrong, "records of its domains")


def check_dkim(facts: Facts) -> Finding:
    """Whether what it signs can be verified: the signer runs and signs, and the keys' records are there."""
    if facts.said is not None and any(
        unit.name.startswith("opendkim") and unit.active_state != "active" for unit in facts.said.units
    ):
        return Finding(Check.DKIM, State.FAIL, "opendkim does not run: what passes through Postfix is not signed.")
    if facts.said is not None and facts.said.signing_test.faults:
        return _unsigned(facts.said.signing_test)
    return _records(Check.DKIM, facts.dkim_records, facts.dkim_wrong, "DKIM records")


def check_clock(facts: Facts) -> Finding:
    """Whether its clock is near ours: leases rest on it."""
    if facts.clock_offset_ms is None:
        return Finding(Check.CLOCK, State.UNKNOWN, "Its clock was not measured yet.")
    offset = facts.clock_offset_ms / 1000
    state = _state(abs(offset), facts.clock_tolerance_seconds / 2, facts.clock_tolerance_seconds)
    return Finding(Check.CLOCK, state, f"Its clock is {offset:+.1f} s from ours.", offset)


def check_version(facts: Facts) -> Finding:
    """Whether it runs what the others run, configured as it should be."""
    behind = facts.desired_version - facts.applied_version
    if behind > 0:
        sentence = f"It has configuration {facts.applied_version} of {facts.desired_version}."
        return Finding(Check.VERSION, State.WARN, sentence, float(behind))
    if facts.agent_version is None:
        return Finding(Check.VERSION, State.UNKNOWN, "Its agent never told its version.")
    if facts.usual_version is not None and facts.agent_version != facts.usual_version:
        sentence = f"Its agent is {facts.agent_version}; most are {facts.usual_version}."
        return Finding(Check.VERSION, State.WARN, sentence)
    return Finding(Check.VERSION, State.OK, f"Its agent is {facts.agent_version}.")


def check_identity(facts: Facts) -> Finding:
    """Whether its certificate is used by it alone."""
    if facts.cloned_at is None:
        return Finding(Check.IDENTITY, State.OK, "Its identity is used by nobody else, as far as is known.")
    sentence = "Two held a link with its certificate at the same time: both were cut. Enrol it again."
    return Finding(Check.IDENTITY, State.FAIL, sentence)


def check_mail_backup(facts: Facts) -> Finding:
    """Whether its mailboxes have a backup of the last day, where they are to have one."""
    since = facts.backed_up_since
    if since is None:
        return Finding(Check.MAIL_BACKUP, State.OK, "Nobody asked for backups of its mailboxes.")
    if facts.said is None:
        return Finding(Check.MAIL_BACKUP, State.UNKNOWN, "It does not tell of backups of its mailboxes.")
    told = facts.said.mail_backup
    good = dt.datetime.fromtimestamp(told.good_ms / 1000, dt.UTC) if told.good_ms else since
    age = (facts.now - max(good, since)).total_seconds()
    if age > BACKUP_FAIL.total_seconds():
        why = f": {told.detail}" if told.good_ms != told.ended_ms else ""
        sentence = f"Its mailboxes have had no backup for {_duration(age)}{why}."
        return Finding(Check.MAIL_BACKUP, State.FAIL, sentence, age)
    if told.good_ms != told.ended_ms:
        return Finding(Check.MAIL_BACKUP, State.WARN, f"The last backup of its mailboxes failed: {told.detail}.", age)
    if not told.good_ms:
        return Finding(Check.MAIL_BACKUP, State.UNKNOWN, "The first backup of its mailboxes is to come.", age)
    sentence = f"Its {told.mailboxes} mailboxes were backed up {_duration(age)} ago."
    return Finding(Check.MAIL_BACKUP, State.OK, sentence, age)


def check_agent_memory(facts: Facts) -> Finding:
    """Whether its agent's memory has an end: a leak shows long after the plan that brought the release."""
    report = facts.said
    if report is None or not report.agent_rss_bytes:
        return Finding(Check.AGENT_MEMORY, State.UNKNOWN, "It does not tell what memory its agent takes.")
    rss = float(report.agent_rss_bytes)
    takes = f"Its agent takes {rss / (1 << 20):.0f} MiB"
    if why := leak(rss, facts.agent_memory):
        return Finding(Check.AGENT_MEMORY, State.WARN, f"{takes}, {why}.", rss)
    return Finding(Check.AGENT_MEMORY, State.OK, f"{takes}.", rss)


_CHECKS: Sequence[Callable[[Facts], Finding]] = (
    *(check_reachable, check_mail_server, check_ssl, check_disk, check_queue),
    *(check_port_25, check_ptr, check_blocklist, check_dns, check_dkim, check_clock, check_version),
    *(check_identity, check_mail_backup, check_agent_memory),
)
_STATE_OF_VERDICT = {
    "passed": State.OK,
    "warned": State.WARN,
    "unknown": State.UNKNOWN,
    "pending": State.UNKNOWN,
    "failed": State.FAIL,
}


def _kept(facts: Facts, check: Check, kind: str) -> Finding:
    if kind not in facts.preflight:
        return Finding(check, State.UNKNOWN, "Nobody has looked yet.")
    verdict, detail = facts.preflight[kind]
    return Finding(check, _STATE_OF_VERDICT.get(verdict, State.UNKNOWN), detail)


def _records(check: Check, there: int, wrong: int, what: str) -> Finding:
    if not there:
        return Finding(check, State.UNKNOWN, f"There are no {what} yet.")
    if wrong:
        return Finding(check, State.FAIL, f"{wrong} of {there} {what} are not as they should be.", float(wrong))
    return Finding(check, State.OK, f"All {there} {what} are as they should be.", 0.0)


def _certificates(facts: Facts) -> tuple[list[dt.datetime], list[str]]:
    """Return when certificates end, and why some could not be seen: as we see them, or else as its agent does.

    The ports of mail are those that we look at; others are its agent's alone to tell of.
    """
    looked = [look.not_after for look in facts.looks.values() if look.not_after]
    told = facts.said.certificates if facts.said else ()
    served = [each for each in told if not (looked and each.port in facts.looks)]
    ends = [dt.datetime.fromtimestamp(each.not_after_ms / 1000, dt.UTC) for each in served if not each.error]
    return looked + ends, [f"port {each.port}, {each.error}" for each in served if each.error]


def _uncertified(facts: Facts) -> Sequence[str]:
    """Return the names of domains that the authority was asked for in vain; a first attempt may still be going on."""
    if facts.said is None:
        return ()
    issue = facts.said.certificate_issue
    return issue.missing_names if issue.failures or issue.state == "issued" else ()


def _unsigned(test: SigningTest) -> Finding:
    first = test.faults[0]
    sentence = f"Mail is not signed with the key of {first.domain}: {first.fault}"
    others = f", and of {test.failed - 1} others" if test.failed > 1 else ""
    return Finding(Check.DKIM, State.FAIL, f"{sentence}{others}.", float(test.failed))


def _broken_chains(facts: Facts) -> str:
    """Return how ports show their certificate so that mail programs cannot follow it to an authority."""
    told = facts.said.certificates if facts.said else ()
    faults = sorted({each.chain_fault for each in told if each.chain_fault})
    ports = {fault: ", ".join(str(each.port) for each in told if each.chain_fault == fault) for fault in faults}
    return "; ".join(f"{fault} on port {ports[fault]}" for fault in faults)


def _state(value: float, warn: float, fail: float) -> State:
    return State.FAIL if value >= fail else State.WARN if value >= warn else State.OK


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
