"""What waits in a server's Postfix, in lines for people. Pure."""

from protos.agent.v1.telemetry_pb2 import HealthReport, PostfixQueue

_STATES = ("incoming", "active", "deferred", "hold")
#: As in PostfixQueue.
_AGES = ("under 5 min", "5-60 min", "1-6 h", "6-24 h", "over 1 day")


def queue_lines(report: HealthReport | None) -> list[str]:
    """Say how old the messages of each state are, and for whom they wait; nothing where the server does not tell."""
    if report is None:
        return []
    queue = report.postfix_queue
    return [f"queue {state}: {ages}{_destinations(queue, state)}" for state in _STATES if (ages := _ages(queue, state))]


def _ages(queue: PostfixQueue, state: str) -> str:
    counts = zip(_AGES, getattr(queue, f"{state}_ages"), strict=False)
    return ", ".join(f"{age} {count}" for age, count in counts if count)


def _destinations(queue: PostfixQueue, state: str) -> str:
    counts = getattr(queue, f"{state}_providers").ListFields()
    return "; for " + ", ".join(f"{provider.name} {count}" for provider, count in counts) if counts else ""
