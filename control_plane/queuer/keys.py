"""The Redis keys of one server, all in one hash slot of a cluster by the braces around its id.

key                   type     meaning
pm:{<vps id>}:high    stream   envelopes of priority 0; one entry has one field, `e`: a queue.v1.Envelope
pm:{<vps id>}:normal  stream   envelopes of priority 1
pm:{<vps id>}:low     stream   envelopes of priority 2
pm:{<vps id>}:epoch   string   there since the queuer last knew the streams to be whole; gone when Redis forgot
pm:{<vps id>}:filling:<token>  string  there while one queuer writes them again; becomes the epoch when it has done

Each stream has the consumer group `agent`, made by the queuer at id 0. The queuer adds entries, and only the agent
removes them, once its journal has them; so a stream's length is what the server has not taken. In the messages table a
priority is a number.
"""

import uuid

GROUP = "agent"
FIELD = "e"

#: Names of the streams, by `messages.priority`.
PRIORITIES = ("high", "normal", "low")


def prefix(vps_id: uuid.UUID) -> str:
    """Return what all keys of a server start with."""
    return f"pm:{{{vps_id}}}"


def stream(vps_id: uuid.UUID, priority: int) -> str:
    """Return the stream of one priority."""
    return f"{prefix(vps_id)}:{PRIORITIES[priority]}"


def streams(vps_id: uuid.UUID) -> tuple[str, ...]:
    """Return the three streams, by priority."""
    return tuple(stream(vps_id, priority) for priority in range(len(PRIORITIES)))


def epoch(vps_id: uuid.UUID) -> str:
    """Return the key that is missing when Redis has forgotten the server's streams."""
    return f"{prefix(vps_id)}:epoch"


def filling(vps_id: uuid.UUID, token: str) -> str:
    """Return the key that is missing when Redis has forgotten what this filling of the streams has written."""
    return f"{prefix(vps_id)}:filling:{token}"
