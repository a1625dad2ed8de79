"""A health report as OpenMetrics text. Pure, and written out: the usual library would cost each server some MiB.

Labels are what the report is made of: mounts, units, ports, and the few providers that destinations are told by.
"""

from collections.abc import Iterable, Iterator, Sequence

from agent.metrics.queue_tally import AGE_BANDS
from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, PostfixQueue

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_Labels = Sequence[tuple[str, str]]
_Samples = Iterable[tuple[_Labels, float]]
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
#: A metric of one of these ends with its name.
_UNITS = ("seconds", "bytes", "ratio", "messages", "inodes")
_QUEUES = ("incoming", "active", "deferred", "hold")
_OUTCOMES = ("delivered", "deferred", "bounced")


def render(report: HealthReport, *, connected: bool) -> str:
    """Return the report as a scraper reads it; what it does not say is left out."""
    families = [*_server(report, connected=connected), *_mail(report), *_relay(report)]
    return "".join(families) + "# EOF\n"


def _server(report: HealthReport, *, connected: bool) -> Iterator[str]:
    host, disks = report.host, report.disks
    yield _family("link_up", "gauge", "Whether the control plane is linked.", [([], float(connected))])
    yield _family("report_timestamp_seconds", "gauge", "When this was measured.", [([], report.at_ms / 1000)])
    yield _family("load_1m", "gauge", "Processes that want a processor.", [([], host.load_1m)])
    if host.HasField("cpu_percent"):
        yield _family("cpu_used_ratio", "gauge", "Of all processors' time.", [([], host.cpu_percent / 100)])
    memory = [([("state", "total")], host.memory_total_bytes), ([("state", "available")], host.memory_available_bytes)]
    yield _family("memory_bytes", "gauge", "Main memory.", memory)
    swap = [([("state", "total")], host.swap_total_bytes), ([("state", "free")], host.swap_free_bytes)]
    yield _family("swap_bytes", "gauge", "Swap space.", swap)
    yield _family("agent_memory_bytes", "gauge", "Resident memory of the agent.", [([], report.agent_rss_bytes)])
    space = [(disk.mount, disk.total_bytes, disk.free_bytes) for disk in disks]
    inodes = [(disk.mount, disk.inodes_total, disk.inodes_free) for disk in disks]
    yield _family("disk_bytes", "gauge", "Space on disks.", _total_and_free(space))
    yield _family("disk_inodes", "gauge", "Inodes on disks.", _total_and_free(inodes))
    yield _family("disk_lasts_seconds", "gauge", "Until nothing is left, if it goes on as it did.", _lasts(disks))
    if report.HasField("network"):
        network = report.network
        passed = [([("direction", "received")], network.received_bytes), ([("direction", "sent")], network.sent_bytes)]
        yield _family("network_bytes", "counter", "Octets over all interfaces but loopback.", passed)
    units = report.units
    running = [([("unit", unit.name)], float(unit.active_state == "active")) for unit in units]
    yield _family("unit_active", "gauge", "Whether a unit runs.", running)
    if report.HasField("package_updates"):
        updates = report.package_updates
        waiting = [([("kind", "all")], updates.waiting), ([("kind", "security")], updates.security)]
        yield _family("package_updates", "gauge", "Updates of installed packages that wait.", waiting)
    yield _family("unit_restarts", "counter", "Restarts by systemd.", [([("unit", u.name)], u.restarts) for u in units])


def _mail(report: HealthReport) -> Iterator[str]:
    if report.HasField("postfix_queue"):
        yield from _queue(report.postfix_queue)
    served = [([("port", str(each.port))], each.not_after_ms / 1000) for each in report.certificates if not each.error]
    yield _family("certificate_expiry_timestamp_seconds", "gauge", "When served certificates end.", served)
    unserved = [([("port", str(each.port))], float(not each.error)) for each in report.certificates]
    yield _family("certificate_served", "gauge", "Whether a port shows a certificate.", unserved)
    chains = [each for each in report.certificates if each.chain_length]
    whole = [([("port", str(each.port))], float(not each.chain_fault)) for each in chains]
    yield _family("certificate_chain_whole", "gauge", "Whether clients can follow its chain.", whole)
    if report.HasField("logins"):
        logins = [([("outcome", name)], getattr(report.logins, name)) for name in ("succeeded", "failed")]
        yield _family("logins", "counter", "What came of log-ins at Dovecot.", logins)
    if report.HasField("signing_test"):
        test = report.signing_test
        domains = [([("signed", "yes")], test.good), ([("signed", "no")], test.failed)]
        yield _family("tried_domains", "gauge", "Domains whose mail was found signed with their key, or not.", domains)
    attempts = [
        ([("destination", each.provider), ("outcome", outcome)], getattr(each, outcome))
        for each in report.destinations
        for outcome in _OUTCOMES
    ]
    yield _family("delivery_attempts", "counter", "What became of attempts to deliver.", attempts)


def _queue(queue: PostfixQueue) -> Iterator[str]:
    names = (*_QUEUES, "corrupt") if queue.HasField("corrupt") else _QUEUES
    waiting = [([("queue", name)], getattr(queue, name)) for name in names]
    yield _family("postfix_queue_messages", "gauge", "Messages in Postfix's queues.", waiting)
    yield _family("postfix_queue_oldest_seconds", "gauge", "Age of the oldest.", [([], queue.oldest_seconds)])
    aged = [
        ([("queue", name), ("age", band)], count)
        for name in _QUEUES
        for band, count in zip(AGE_BANDS, getattr(queue, f"{name}_ages"), strict=False)
    ]
    yield _family("postfix_queue_aged_messages", "gauge", "Messages by how long ago they arrived.", aged)
    awaiting = [
        ([("destination", provider.name), ("queue", name)], count)
        for name in _QUEUES
        for provider, count in getattr(queue, f"{name}_providers").ListFields()
    ]
    yield _family("postfix_queue_destination_messages", "gauge", "Messages by who they wait for.", awaiting)


def _relay(report: HealthReport) -> Iterator[str]:
    if not report.HasField("relay"):
        return
    relay = report.relay
    yield _family("relay_in_hand_sends", "gauge", "Taken and not yet handed to Postfix.", [([], relay.in_hand)])
    yield _family("relay_in_postfix_sends", "gauge", "Handed over and not yet final.", [([], relay.in_postfix)])
    yield _family(
        "spooled_events", "gauge", "Events the control plane has not confirmed.", [([], relay.spooled_events)]
    )
    handed = [([("outcome", "taken")], relay.handed_over), ([("outcome", "refused")], relay.refused)]
    yield _family("hand_overs", "counter", "What came of handing sends over to Postfix.", handed)
    yield _family("journal_usable", "gauge", "Whether sends are taken.", [([], float(not relay.journal_fault))])
    yield _family("queue_reachable", "gauge", "Whether Redis answers.", [([], float(relay.redis_connected))])
    malformed = [
        ([("what", "envelope")], relay.malformed_envelopes),
        ([("what", "log_line")], relay.malformed_log_lines),
    ]
    yield _family("malformed", "counter", "What could not be read, and was set aside.", malformed)


def _lasts(disks: Iterable[Disk]) -> Iterator[tuple[_Labels, float]]:
    for disk in disks:
        if disk.HasField("seconds_to_full"):
            yield [("mount", disk.mount), ("of", "space")], disk.seconds_to_full
        if disk.HasField("seconds_to_no_inodes"):
            yield [("mount", disk.mount), ("of", "inodes")], disk.seconds_to_no_inodes


def _total_and_free(sizes: Iterable[tuple[str, int, int]]) -> Iterator[tuple[_Labels, float]]:
    for mount, total, free in sizes:
        yield [("mount", mount), ("state", "total")], total
        yield [("mount", mount), ("state", "free")], free


def _family(name: str, kind: str, meaning: str, samples: _Samples) -> str:
    """Return a metric's lines; one whose name ends with a unit says so, and a counter's samples end with _total."""
    full = f"penguin_agent_{name}"
    lines = [f"# TYPE {full} {kind}", f"# HELP {full} {meaning}"]
    lines += [f"# UNIT {full} {unit}" for unit in _UNITS if full.endswith(f"_{unit}")]
    suffix = "_total" if kind == "counter" else ""
    lines += [f"{full}{suffix}{_in_braces(labels)} {float(value)!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _in_braces(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}" if labels else ""
