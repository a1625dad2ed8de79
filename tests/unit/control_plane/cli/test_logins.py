"""What is said of log-ins."""

from control_plane.cli.logins import login_lines
from protos.agent.v1.telemetry_pb2 import HealthReport, Logins


def test_a_page_says_how_many_came_in_and_how_many_did_not() -> None:
    report = HealthReport(counting_since_ms=1_795_000_000_000, logins=Logins(succeeded=12, failed=3))
    assert login_lines(report) == ["log-ins 12, failed 3, since 2026-11-18 11:06"]


def test_nothing_is_said_of_a_server_that_does_not_tell() -> None:
    assert login_lines(None) == []
    assert login_lines(HealthReport()) == []
