"""What is said of a server's packages."""

from control_plane.cli.package_updates import update_lines
from protos.agent.v1.telemetry_pb2 import HealthReport, OfferedPackage, PackageUpdates


def test_a_page_says_what_waits_and_what_a_plan_may_name() -> None:
    mail = [
        OfferedPackage(name="postfix", installed="3.7.10", offered="3.7.11", held=True),
        OfferedPackage(name="dovecot-core", installed="2.3.19", offered="2.3.20", security=True),
    ]
    updates = PackageUpdates(waiting=7, security=2, lists_ms=1_795_000_000_000, mail=mail)
    assert update_lines(HealthReport(package_updates=updates)) == [
        "package updates 7, 2 for security, by the lists of 2026-11-18 11:06",
        "  postfix 3.7.10, offered 3.7.11, held",
        "  dovecot-core 2.3.19, offered 2.3.20, for security",
    ]


def test_nothing_is_said_of_a_server_that_does_not_tell() -> None:
    assert update_lines(None) == []
    assert update_lines(HealthReport()) == []
