"""The verdict from a report."""

import datetime as dt

import pytest

from agent.health import problems
from protos.agent.v1.telemetry_pb2 import (
    CertificateIssue,
    Disk,
    HealthReport,
    Host,
    Relay,
    ServedCertificate,
    SigningTest,
    Unit,
)

DAY_MS = int(dt.timedelta(days=1).total_seconds() * 1000)
NOW_MS = 1_800_000_000_000


def healthy() -> HealthReport:
    return HealthReport(
        at_ms=NOW_MS,
        host=Host(memory_total_bytes=100, memory_available_bytes=50),
        disks=[Disk(mount="/", total_bytes=100, free_bytes=50, inodes_total=100, inodes_free=50)],
        units=[Unit(name="dovecot.service", active_state="active")],
        certificates=[ServedCertificate(port=993, not_after_ms=NOW_MS + 30 * DAY_MS)],
        relay=Relay(redis_connected=True),
    )


def test_a_healthy_server_has_no_problems() -> None:
    assert problems(healthy()) == ()


def test_a_file_system_without_inodes_of_its_own_has_enough_of_them() -> None:
    report = healthy()
    report.disks[0].inodes_total = report.disks[0].inodes_free = 0
    assert problems(report) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (HealthReport(disks=[Disk(mount="/x", total_bytes=100, free_bytes=9)]), "/x has little space left"),
        (HealthReport(disks=[Disk(mount="/x", inodes_total=100, inodes_free=4)]), "/x has few inodes left"),
        (HealthReport(relay=Relay(redis_connected=True, journal_fault="full")), "no send is taken: full"),
        (HealthReport(host=Host(memory_total_bytes=1000)), "memory is nearly used up"),
        (HealthReport(units=[Unit(name="opendkim.service", active_state="failed")]), "opendkim.service failed"),
        (HealthReport(certificates=[ServedCertificate(port=25, error="no answer")]), "port 25 serves no certificate"),
        (
            HealthReport(certificate_issue=CertificateIssue(state="issued", missing_names=["mta-sts.a.example"])),
            "the certificate is not for mta-sts.a.example",
        ),
        (
            HealthReport(certificates=[ServedCertificate(port=25, not_after_ms=NOW_MS - 1)]),
            "the certificate on port 25 has expired",
        ),
        (
            HealthReport(certificates=[ServedCertificate(port=25, not_after_ms=NOW_MS + 3 * DAY_MS)]),
            "the certificate on port 25 ends in 3 days",
        ),
        (
            HealthReport(
                certificates=[ServedCertificate(port=25, not_after_ms=NOW_MS + 30 * DAY_MS, chain_fault="with others")]
            ),
            "port 25 serves its certificate with others",
        ),
        (HealthReport(signing_test=SigningTest(good=1, failed=2)), "mail of 2 domains is not signed with their keys"),
    ],
)
def test_each_problem_is_told_in_a_sentence(change: HealthReport, sentence: str) -> None:
    report = healthy()
    report.MergeFrom(change)
    if change.HasField("host"):
        report.host.memory_available_bytes = 1
    assert problems(report) == (sentence,)


def test_a_queue_out_of_reach_is_told() -> None:
    report = healthy()
    report.relay.redis_connected = False
    assert problems(report) == ("the queue cannot be reached",)


def test_an_unknown_relay_is_no_problem() -> None:
    report = healthy()
    report.ClearField("relay")
    assert problems(report) == ()
