"""A verdict from a health report: what an operator should look at, in words. Pure.

The control plane judges a fleet with thresholds of its own; these sentences are for who looks at this one server with
`systemctl status penguin-agent` or in its journal, also while the link is down.
"""

from datetime import timedelta

from protos.agent.v1.telemetry_pb2 import Disk, HealthReport, ServedCertificate

#: Shares that must be left.
LEAST_FREE_SPACE = 0.10
LEAST_FREE_INODES = 0.05
LEAST_AVAILABLE_MEMORY = 0.05
#: A served certificate should have been renewed long before this is left of it.
LEAST_CERTIFICATE_LIFE = timedelta(days=7)


def problems(report: HealthReport) -> tuple[str, ...]:
    """Return one short sentence for each thing that is wrong; nothing when all is well."""
    found = [sentence for disk in report.disks for sentence in _disk_problems(disk)]
    if report.host.memory_available_bytes < LEAST_AVAILABLE_MEMORY * report.host.memory_total_bytes:
        found.append("memory is nearly used up")
    found += [f"{unit.name} failed" for unit in report.units if unit.active_state == "failed"]
    found += [sentence for served in report.certificates if (sentence := _certificate_problem(served, report.at_ms))]
    if report.certificate_issue.failures:
        found.append(f"no certificate was got ({report.certificate_issue.state})")
    if report.signing_test.failed:
        found.append(f"mail of {report.signing_test.failed} domains is not signed with their keys")
    if names := report.certificate_issue.missing_names:
        found.append(f"the certificate is not for {', '.join(names)}")
    if report.HasField("relay") and not report.relay.redis_connected:
        found.append("the queue cannot be reached")
    if report.relay.journal_fault:
        found.append(f"no send is taken: {report.relay.journal_fault}")
    return tuple(found)


def _disk_problems(disk: Disk) -> list[str]:
    found = []
    if disk.free_bytes < LEAST_FREE_SPACE * disk.total_bytes:
        found.append(f"{disk.mount} has little space left")
    if disk.inodes_free < LEAST_FREE_INODES * disk.inodes_total:
        found.append(f"{disk.mount} has few inodes left")
    return found


def _certificate_problem(served: ServedCertificate, now_ms: int) -> str | None:
    if served.error:
        return f"port {served.port} serves no certificate"
    left = timedelta(milliseconds=served.not_after_ms - now_ms)
    if left < timedelta(0):
        return f"the certificate on port {served.port} has expired"
    if left < LEAST_CERTIFICATE_LIFE:
        return f"the certificate on port {served.port} ends in {left.days} days"
    return f"port {served.port} serves its certificate {served.chain_fault}" if served.chain_fault else None
