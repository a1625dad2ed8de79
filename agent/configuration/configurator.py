"""The network half of configuration: hands desired states to the root half and reports what became of them.

It reads nothing of a state but its version. While one is applied newer ones may arrive; the newest is applied next,
those between never. The last applied state is kept on disk (0600, it holds keys), so that after a restart the relay can
sign and the control plane is told the right version before the link is up. Which release had it rendered is kept beside
it: another one has it rendered anew when it starts, so that what it renders otherwise is judged with it, and not with
whatever is changed next.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import DecodeError

from agent.configuration import wire
from agent.configuration.asking import ask_root_half
from agent.identity.store import write_atomically
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import ConfigurationResult, DesiredState
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.root_half_pb2 import RootRequest

_KEPT_STATE = "desired_state.pb"
_RENDERED_BY = "rendered_by"
#: Seconds for the root half to apply, verify and perhaps roll back.
_ANSWER_TIMEOUT = 300.0

_log = logging.getLogger(__name__)


class Configurator:
    """Applies each new desired state. `applied` is the last one that was applied and verified."""

    def __init__(
        self,
        desired_state: Latest[DesiredState],
        send: Callable[[AgentMessage], None],
        state_dir: Path,
        socket: Path,
        *,
        release: str,
        retry_seconds: float = 5.0,
    ) -> None:
        self.applied: Latest[DesiredState] = Latest()
        self._desired_state = desired_state
        self._send = send
        self._kept_state = state_dir / _KEPT_STATE
        self._rendered_by = state_dir / _RENDERED_BY
        self._release = release
        self._socket = socket
        self._retry_seconds = retry_seconds
        #: So that nothing older is applied after what is newer.
        self._turn = asyncio.Lock()
        self._load()

    @property
    def applied_version(self) -> int:
        """The version applied and verified last; 0 for none."""
        applied = self.applied.get()
        return applied.version if applied else 0

    async def run(self) -> None:
        """Apply desired states for ever, each once; one that could not be handed over is tried again."""
        await self._render_anew()
        settled: DesiredState | None = None
        while True:
            wanted = self._desired_state.get()
            if wanted is None or wanted is settled:
                await self._desired_state.changed()
                continue
            try:
                self._report(await self._settle(wanted))
                settled = wanted
            except (OSError, EOFError, wire.BadFrame, DecodeError) as error:
                _log.warning("the root half did not answer: %r", error)
                await self._pause_or_change()

    async def reapply(self) -> bool:
        """Apply the last state once more and tell what came of it; say whether it was applied.

        Raises what `ask_root_half` raises.
        """
        async with self._turn:
            applied = self.applied.get()
            if applied is None:
                return False
            result = await self._ask_root_half(applied)
        self._report(result)
        return result.outcome == ConfigurationResult.OUTCOME_APPLIED

    async def _render_anew(self) -> None:
        while self.applied.get() is not None and self._kept_release() != self._release:
            try:
                await self.reapply()
                # A disk that is full is waited for, as the root half is: nothing else may stop for it.
                write_atomically(self._rendered_by, self._release.encode(), mode=0o600)
            except (OSError, EOFError, wire.BadFrame, DecodeError) as error:
                _log.warning("what is applied is not rendered anew yet: %r", error)
                await asyncio.sleep(self._retry_seconds)

    async def _settle(self, wanted: DesiredState) -> ConfigurationResult:
        async with self._turn:
            return await self._settle_alone(wanted)

    async def _settle_alone(self, wanted: DesiredState) -> ConfigurationResult:
        if wanted.version <= self.applied_version:
            return ConfigurationResult(
                version=self.applied_version, outcome=ConfigurationResult.OUTCOME_APPLIED, detail="applied before"
            )
        result = await self._ask_root_half(wanted)
        if result.outcome == ConfigurationResult.OUTCOME_APPLIED:
            self._keep(wanted)
            self.applied.set(wanted)
        return result

    async def _ask_root_half(self, wanted: DesiredState) -> ConfigurationResult:
        answer = await ask_root_half(self._socket, RootRequest(desired_state=wanted), _ANSWER_TIMEOUT)
        return answer.configuration_result

    async def _pause_or_change(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._retry_seconds):
                await self._desired_state.changed()

    def _report(self, result: ConfigurationResult) -> None:
        _log.info("desired state %d: %s", result.version, ConfigurationResult.Outcome.Name(result.outcome).lower())
        self._send(AgentMessage(configuration_result=result))

    def _load(self) -> None:
        try:
            self.applied.set(DesiredState.FromString(self._kept_state.read_bytes()))
        except FileNotFoundError:
            return
        except DecodeError:
            _log.warning("%s cannot be read; waiting for the control plane", self._kept_state)

    def _keep(self, state: DesiredState) -> None:
        write_atomically(self._kept_state, state.SerializeToString(), mode=0o600)
        write_atomically(self._rendered_by, self._release.encode(), mode=0o600)

    def _kept_release(self) -> str | None:
        try:
            return self._rendered_by.read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None
