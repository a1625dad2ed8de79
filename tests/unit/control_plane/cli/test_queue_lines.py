"""Postfix's queue in lines."""

from control_plane.cli.queue_lines import queue_lines
from protos.agent.v1.telemetry_pb2 import HealthReport, PostfixQueue, QueuedProviders


def test_what_waits_is_said_by_state_and_age_and_for_whom() -> None:
    queue = PostfixQueue(
        active=2,
        deferred=4,
        active_ages=[2, 0, 0, 0, 0],
        deferred_ages=[0, 1, 0, 0, 3],
        deferred_providers=QueuedProviders(google=3, other=1),
    )
    assert queue_lines(HealthReport(postfix_queue=queue)) == [
        "queue active: under 5 min 2",
        "queue deferred: 5-60 min 1, over 1 day 3; for google 3, other 1",
    ]


def test_where_nothing_waits_or_nobody_tells_nothing_is_said() -> None:
    assert queue_lines(None) == []
    assert queue_lines(HealthReport()) == []
    assert queue_lines(HealthReport(postfix_queue=PostfixQueue(active=2))) == []
