"""How the network half has opendkim sign a message: through the root half, which may speak to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.configuration.asking import ask_root_half
from protos.agent.v1.root_half_pb2 import RootRequest, TrySigning

#: Seconds for the root half, which may be applying a configuration first.
_ANSWER_SECONDS = 300.0


async def signed_by_opendkim(socket: Path, domains: Sequence[str]) -> Mapping[str, bytes]:
    """Return a message from each of the domains as opendkim leaves it, where it answers. Raises as `ask_root_half`."""
    answer = await ask_root_half(socket, RootRequest(try_signing=TrySigning(domains=domains)), _ANSWER_SECONDS)
    return {trial.domain: trial.message for trial in answer.signed_trials.trials}
