"""Whether what leaves this server is signed: a message of each domain, signed as sends are and by opendkim, verified.

The keys are right as a rule, and what may be wrong is what became of them here: one cannot be read, or opendkim signs
with another or not at all. That the published record is the key's is for the control plane to see.
"""

import asyncio
import time
from bisect import bisect
from collections.abc import Awaitable, Callable, Mapping, Sequence

from agent.relay.keyring import KeyRing
from agent.relay.signing import SigningKey, SigningKeys
from agent.relay.verifying import signature_fault
from agent.uplink.latest import Latest
from protos.agent.v1.configuration_pb2 import DesiredState
from protos.agent.v1.telemetry_pb2 import SigningFault, SigningTest

#: Domains that are tried in one look; where there are more, they take turns.
AT_ONCE = 50
#: Faults that are told of.
_MOST_TOLD = 10
#: Seconds until what went wrong is tried again: keys may just have been changed.
_AGAIN = 15.0
_BODY = b"\r\nNobody is sent this.\r\n"

#: Has opendkim sign a message from each domain; those that it could not be asked for are left out.
SignedByOpendkim = Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]


class SigningSelfTest:
    """What came of it is in `told`; None before the first look."""

    def __init__(
        self,
        applied: Latest[DesiredState],
        keys: KeyRing,
        signed_by_opendkim: SignedByOpendkim,
        again_seconds: float = _AGAIN,
    ) -> None:
        self.told: SigningTest | None = None
        self._applied = applied
        self._keys = keys
        self._signed_by_opendkim = signed_by_opendkim
        self._again_seconds = again_seconds
        self._faults: dict[str, str] = {}
        self._last = ""

    async def look(self) -> None:
        """Try the domains whose turn it is. Raises what asking opendkim raises."""
        turn = self._turn()
        faults = await self._try(turn)
        if wrong := [domain for domain, fault in faults.items() if fault]:
            await asyncio.sleep(self._again_seconds)
            faults |= await self._try(wrong)
        self._faults |= faults
        self._keep(self._domains())

    def _domains(self) -> list[str]:
        desired = self._applied.get()
        domains = desired.server.domains if desired is not None else ()
        return sorted(domain.name.lower() for domain in domains if any(key.active for key in domain.dkim_keys))

    def _turn(self) -> list[str]:
        domains = self._domains()
        start = bisect(domains, self._last)
        turn = [*domains[start:], *domains[:start]][:AT_ONCE]
        self._last = turn[-1] if turn else ""
        return turn

    async def _try(self, domains: Sequence[str]) -> dict[str, str]:
        """Return the fault of each domain, empty for none."""
        if not domains:
            return {}
        signed = await self._signed_by_opendkim(domains)
        keys = await self._keys.current()
        return {domain: _fault(keys, domain, signed.get(domain)) for domain in domains}

    def _keep(self, domains: Sequence[str]) -> None:
        self._faults = {domain: self._faults[domain] for domain in domains if domain in self._faults}
        wrong = {domain: fault for domain, fault in self._faults.items() if fault}
        told = [SigningFault(domain=domain, fault=wrong[domain]) for domain in sorted(wrong)[:_MOST_TOLD]]
        self.told = SigningTest(good=len(self._faults) - len(wrong), failed=len(wrong), faults=told)


def _fault(keys: SigningKeys, domain: str, by_opendkim: bytes | None) -> str:
    key = keys.key_for(domain)
    if key is None:
        return "its key cannot be read"
    if fault := signature_fault(_trial(key), key):
        return f"as sends are signed, {fault}"
    fault = signature_fault(by_opendkim, key) if by_opendkim is not None else ""
    return f"as opendkim signs, {fault}" if fault else ""


def _trial(key: SigningKey) -> bytes:
    message = f"From: postmaster@{key.domain}\r\nSubject: Signing test\r\n".encode() + _BODY
    return key.sign(message, int(time.time())) + message
