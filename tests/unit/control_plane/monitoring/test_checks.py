"""What facts about a server mean."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from control_plane.monitoring.checks import Facts, check_all
from control_plane.monitoring.probe import Look
from control_plane.monitoring.states import Check, Finding, State, worst
from protos.agent.v1.telemetry_pb2 import (
    CertificateIssue,
    Disk,
    HealthReport,
    MailBackupStatus,
    PostfixQueue,
    Relay,
    ServedCertificate,
    SigningFault,
    SigningTest,
    Unit,
)

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
GOOD = Look(not_after=NOW + 60 * DAY)
#: Issued for the server's own name, and not for one of a domain's.
PARTLY = CertificateIssue(state="issued", missing_names=["mta-sts.a.example"])

ROOMY = Disk(mount="/", total_bytes=100, free_bytes=50, inodes_total=100, inodes_free=90)
UNSIGNED = SigningFault(domain="a.example", fault="as opendkim signs, there is no signature")


def told(**changes: Any) -> HealthReport:  # noqa: ANN401 - any field of a report
    fields = {
        "at_ms": int(NOW.timestamp() * 1000),
        "disks": [ROOMY],
        "postfix_queue": PostfixQueue(active=2, oldest_seconds=30),
        "agent_rss_bytes": 50 << 20,
        "units": [Unit(name="postfix@-.service", active_state="active", sub_state="running")],
    }
    return HealthReport(**{**fields, **changes})


def backup(*, good: dt.datetime, ended: dt.datetime) -> MailBackupStatus:
    good_ms, ended_ms = int(good.timestamp() * 1000), int(ended.timestamp() * 1000)
    return MailBackupStatus(good_ms=good_ms, ended_ms=ended_ms, mailboxes=3, detail="no space")


def served_at(port: int, until: dt.datetime, fault: str = "") -> ServedCertificate:
    return ServedCertificate(port=port, not_after_ms=int(until.timestamp() * 1000), chain_length=1, chain_fault=fault)


WELL = Facts(
    now=NOW,
    last_seen_at=NOW,
    report=told(),
    looks=dict.fromkeys((25, 465, 587, 993), GOOD),
    preflight=dict.fromkeys(("port_25", "reverse_dns", "blocklist"), ("passed", "Fine.")),
    dns_records=5,
    dkim_records=1,
    clock_offset_ms=20,
    agent_version="1.0",
    usual_version="1.0",
    desired_version=3,
    applied_version=3,
)


def found(facts: Facts, check: Check) -> Finding:
    [finding] = [each for each in check_all(facts) if each.check is check]
    return finding


@pytest.mark.parametrize(
    ("state", "failures", "tells"), [("asking", 0, False), ("asking", 1, True), ("spent", 3, True)]
)
def test_a_name_is_missed_once_it_was_asked_for_in_vain(state: str, failures: int, tells: bool) -> None:
    issue = CertificateIssue(state=state, failures=failures, missing_names=["mta-sts.a.example"])
    finding = found(replace(WELL, report=told(certificate_issue=issue)), Check.SSL)
    assert (finding.state is State.WARN, "mta-sts.a.example" in finding.sentence) == (tells, tells)


def test_all_is_well_with_a_server_that_is_well() -> None:
    findings = check_all(WELL)
    assert {finding.check for finding in findings} == set(Check)
    assert {finding.state for finding in findings} == {State.OK}


@pytest.mark.parametrize(
    ("changes", "check", "state", "words"),
    [
        ({"last_seen_at": NOW - DAY}, Check.REACHABLE, State.FAIL, "its agent is away"),
        ({"last_seen_at": None, "looks": {}}, Check.REACHABLE, State.FAIL, "never"),
        ({"last_seen_at": NOW - dt.timedelta(seconds=27)}, Check.REACHABLE, State.FAIL, "last heard of 27 seconds ago"),
        ({"last_seen_at": NOW - DAY, "excused_before": NOW}, Check.REACHABLE, State.UNKNOWN, "Nobody listened"),
        ({"cloned_at": NOW}, Check.IDENTITY, State.FAIL, "Enrol it again"),
        ({"looks": {25: Look(error="no answer"), 993: GOOD}}, Check.MAIL_SERVER, State.FAIL, "port 25."),
        (
            {"report": told(units=[Unit(name="dovecot.service", active_state="failed")])},
            Check.MAIL_SERVER,
            State.FAIL,
            "dovecot.service does not run",
        ),
        (
            {"report": told(units=[Unit(name="postfix.service", active_state="inactive", sub_state="dead")])},
            Check.MAIL_SERVER,
            State.FAIL,
            "postfix.service does not run",
        ),
        (
            {"report": told(units=[Unit(name="dovecot.service", active_state="activating", sub_state="auto-restart")])},
            Check.MAIL_SERVER,
            State.FAIL,
            "dovecot.service does not run",
        ),
        (
            {"report": told(units=[Unit(name="postfix@-.service", active_state="deactivating")])},
            Check.MAIL_SERVER,
            State.WARN,
            "being started or stopped",
        ),
        ({"backed_up_since": NOW - DAY}, Check.MAIL_BACKUP, State.UNKNOWN, "first backup"),
        ({"backed_up_since": NOW - 2 * DAY}, Check.MAIL_BACKUP, State.FAIL, "no backup for 2 days"),
        (
            {"backed_up_since": NOW - 9 * DAY, "report": told(mail_backup=backup(good=NOW - 2 * DAY, ended=NOW))},
            Check.MAIL_BACKUP,
            State.FAIL,
            "no backup for 2 days: no space",
        ),
        (
            {"backed_up_since": NOW - 9 * DAY, "report": told(mail_backup=backup(good=NOW - DAY, ended=NOW))},
            Check.MAIL_BACKUP,
            State.WARN,
            "failed: no space",
        ),
        (
            {"backed_up_since": NOW - 9 * DAY, "report": told(mail_backup=backup(good=NOW - DAY, ended=NOW - DAY))},
            Check.MAIL_BACKUP,
            State.OK,
            "3 mailboxes were backed up 24 hours ago",
        ),
        (
            {"report": told(agent_rss_bytes=130 << 20)},
            Check.AGENT_MEMORY,
            State.WARN,
            "130 MiB, which is more than 128",
        ),
        (
            {"agent_memory": [place << 20 for place in range(40, 54, 2)]},
            Check.AGENT_MEMORY,
            State.WARN,
            "Its agent takes 50 MiB, and grew by 12 in 6 hours without a stop.",
        ),
        ({"report": told(agent_rss_bytes=0)}, Check.AGENT_MEMORY, State.UNKNOWN, "does not tell"),
        ({"backed_up_since": NOW - 9 * DAY, "report": None}, Check.MAIL_BACKUP, State.UNKNOWN, "does not tell"),
        ({"mail_server_status": "rolled_back"}, Check.MAIL_SERVER, State.WARN, "rolled_back"),
        ({"looks": {25: Look(not_after=NOW - DAY)}}, Check.SSL, State.FAIL, "expired"),
        ({"looks": {25: Look(not_after=NOW + 2 * DAY)}}, Check.SSL, State.FAIL, "lasts 2 days"),
        ({"looks": {25: Look(not_after=NOW + 10 * DAY)}}, Check.SSL, State.WARN, "lasts 10 days"),
        (
            {"report": told(certificates=[served_at(443, NOW + 2 * DAY), served_at(25, NOW + DAY)])},
            Check.SSL,
            State.FAIL,
            "lasts 2 days",
        ),
        (
            {"report": told(certificates=[ServedCertificate(port=443, error="refused")])},
            Check.SSL,
            State.FAIL,
            "port 443, refused",
        ),
        ({"report": told(certificate_issue=PARTLY)}, Check.SSL, State.WARN, "days, and is not for mta-sts.a.example"),
        (
            {"looks": {25: Look(not_after=NOW + 2 * DAY)}, "report": told(certificate_issue=PARTLY)},
            Check.SSL,
            State.FAIL,
            "lasts 2 days, and is not for mta-sts.a.example",
        ),
        (
            {"looks": {}, "report": told(certificates=[ServedCertificate(port=25, error="refused")])},
            Check.SSL,
            State.FAIL,
            "port 25, refused",
        ),
        (
            {
                "report": told(
                    certificates=[served_at(port, NOW + 60 * DAY, "without its issuer's") for port in (25, 993)]
                )
            },
            Check.SSL,
            State.WARN,
            "lasts 60 days, and is shown without its issuer's on port 25, 993.",
        ),
        (
            {
                "looks": {25: Look(not_after=NOW + 2 * DAY)},
                "report": told(
                    certificates=[
                        served_at(25, NOW + 2 * DAY, "without its issuer's"),
                        served_at(465, NOW + 60 * DAY),
                        served_at(993, NOW + 60 * DAY, "with others"),
                    ]
                ),
            },
            Check.SSL,
            State.FAIL,
            "lasts 2 days, and is shown with others on port 993; without its issuer's on port 25.",
        ),
        (
            {"report": told(postfix_queue=PostfixQueue(active=2, oldest_seconds=30, corrupt=3))},
            Check.QUEUE,
            State.WARN,
            "2 messages wait, the oldest since 30 seconds, and 3 that Postfix could not read were set aside.",
        ),
        (
            {"report": told(postfix_queue=PostfixQueue(oldest_seconds=9 * 86_400, corrupt=3))},
            Check.QUEUE,
            State.FAIL,
            "set aside",
        ),
        (
            {"report": told(disks=[Disk(mount="/var", total_bytes=100, free_bytes=4)])},
            Check.DISK,
            State.FAIL,
            "/var is 96% full",
        ),
        (
            {
                "report": told(
                    disks=[Disk(mount="/var", total_bytes=100, free_bytes=90, inodes_total=100, inodes_free=12)]
                )
            },
            Check.DISK,
            State.WARN,
            "/var has 88% of its inodes in use.",
        ),
        # Little is left, and it goes fast.
        (
            {
                "report": told(disks=[ROOMY, Disk(mount="/var", total_bytes=100, free_bytes=14, seconds_to_full=3600)]),
            },
            Check.DISK,
            State.FAIL,
            "/var is 86% full, and full in 60 minutes",
        ),
        # It is not the fullest that is full first, or not of what is the least left.
        (
            {"report": told(disks=[ROOMY, Disk(mount="/var", total_bytes=100, free_bytes=90, seconds_to_full=7200)])},
            Check.DISK,
            State.WARN,
            "/ is 50% full, and /var full in 2 hours.",
        ),
        (
            {
                "report": told(
                    disks=[Disk(mount="/", total_bytes=9, free_bytes=5, seconds_to_no_inodes=60, seconds_to_full=61)]
                )
            },
            Check.DISK,
            State.WARN,
            "/ is 44% full, and out of inodes in 60 seconds.",
        ),
        # What is nearly full and what is full soon are two things.
        (
            {
                "report": told(
                    disks=[
                        Disk(mount="/var", total_bytes=100, free_bytes=14),
                        Disk(mount="/", total_bytes=100, free_bytes=50, seconds_to_full=600),
                    ]
                )
            },
            Check.DISK,
            State.WARN,
            "/var is 86% full, and / full in 10 minutes.",
        ),
        (
            {"report": told(postfix_queue=PostfixQueue(deferred=9, oldest_seconds=7 * 3600))},
            Check.QUEUE,
            State.WARN,
            "9 messages wait, the oldest since 7 hours",
        ),
        (
            {"metrics": {"delivered": 2.0, "deferred": 98.0, "deferred_ratio": 0.98}},
            Check.QUEUE,
            State.FAIL,
            "98% of its attempts are deferred",
        ),
        ({"report": told(relay=Relay(journal_fault="disk full"))}, Check.QUEUE, State.FAIL, "disk full"),
        ({"preflight": {"blocklist": ("failed", "Listed.")}}, Check.BLOCKLIST, State.FAIL, "Listed."),
        ({"preflight": {"blocklist": ("passed", "")}}, Check.PTR, State.UNKNOWN, "Nobody"),
        ({"dns_wrong": 2}, Check.DNS, State.FAIL, "2 of 5"),
        ({"dkim_records": 0}, Check.DKIM, State.UNKNOWN, "no DKIM records"),
        (
            {"report": told(units=[Unit(name="opendkim.service", active_state="inactive")])},
            Check.DKIM,
            State.FAIL,
            "opendkim",
        ),
        (
            {"report": told(signing_test=SigningTest(good=3, failed=1, faults=[UNSIGNED]))},
            Check.DKIM,
            State.FAIL,
            "Mail is not signed with the key of a.example: as opendkim signs, there is no signature.",
        ),
        (
            {"report": told(signing_test=SigningTest(failed=3, faults=[UNSIGNED]))},
            Check.DKIM,
            State.FAIL,
            "there is no signature, and of 2 others.",
        ),
        ({"report": told(signing_test=SigningTest(good=3))}, Check.DKIM, State.OK, "All 1 DKIM records"),
        ({"clock_offset_ms": -6000}, Check.CLOCK, State.WARN, "-6.0 s"),
        ({"clock_offset_ms": 10_000}, Check.CLOCK, State.FAIL, "+10.0 s"),
        ({"agent_version": "0.9"}, Check.VERSION, State.WARN, "most are 1.0"),
        ({"applied_version": 1}, Check.VERSION, State.WARN, "1 of 3"),
    ],
)
def test_what_is_wrong_is_found_and_said(changes: dict[str, Any], check: Check, state: State, words: str) -> None:
    finding = found(replace(WELL, **changes), check)
    assert finding.state is state, finding
    assert words in finding.sentence


def test_few_attempts_prove_nothing() -> None:
    few = {"delivered": 1.0, "deferred": 9.0, "deferred_ratio": 0.9}
    assert found(replace(WELL, metrics=few), Check.QUEUE).state is State.OK


def test_what_a_silent_server_said_last_proves_nothing() -> None:
    silent = replace(WELL, last_seen_at=NOW - DAY, looks={})
    unknown = {finding.check for finding in check_all(silent) if finding.state is State.UNKNOWN}
    assert unknown == {Check.MAIL_SERVER, Check.SSL, Check.DISK, Check.QUEUE, Check.AGENT_MEMORY}


def test_the_worst_is_the_gravest() -> None:
    assert worst([State.OK, State.WARN, State.UNKNOWN]) is State.WARN
    assert worst([]) is State.OK
