"""How the last change of the agent's release, or of the mail packages, stands (agent/upgrade/order.py writes it)."""

from typing import Any

from protos.agent.v1.telemetry_pb2 import AgentUpgrade

_MOST_CHARACTERS = 500


def agent_upgrade(kept: dict[str, Any]) -> AgentUpgrade:
    """Return what its file says. Raises `KeyError`, `TypeError` or `ValueError`."""
    return AgentUpgrade(
        release=str(kept["release"]),
        state=str(kept["state"]),
        reason=str(kept["reason"])[:_MOST_CHARACTERS],
        at_ms=int(kept["at"] * 1000),
        previous=str(kept["previous"]),
    )
