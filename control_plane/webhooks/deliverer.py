"""The deliverer: claims what is due, posts it, records what came of it. Part of the worker; any number may run.

No database session is held while an endpoint is asked. Each endpoint gets so many attempts at a time, and each tenant
no more than it leaves to others (claim.sql): endpoints that hang hold up nobody else.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Never

from control_plane.clock import Clock, utc_now
from control_plane.data_keys.keys import keys_for
from control_plane.sealing import SealBroken, Sealer
from control_plane.telemetry.instruments import WEBHOOKS
from control_plane.webhooks.attempt import Answer, Poster
from control_plane.webhooks.claim import Claim, claim_due, record
from control_plane.webhooks.signing import place_of, signed_headers
from control_plane.webhooks.verdict import judge
from db.notifications import DATABASE_AWAY
from db.session import Database

#: Attempts of one process at a time.
CONCURRENCY = 32
_SECONDS_BETWEEN_LOOKS = 1.0
#: Octets of a body; what is larger is told without its data.
LARGEST_BODY = 32 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Tells endpoints what happened."""

    database: Database
    sealer: Sealer
    poster: Poster
    clock: Clock = utc_now
    #: From 0 to 1; not for secrets.
    dice: Callable[[], float] = random.random

    async def deliver_for_ever(self) -> Never:
        """Deliver until cancelled; what was in hand is then tried again once its claim has run out."""
        async with asyncio.TaskGroup() as attempts:
            in_hand: set[asyncio.Task[None]] = set()
            while True:
                looked_at = await self._begin(attempts, in_hand)
                if len(in_hand) >= CONCURRENCY:
                    await asyncio.wait(in_hand, return_when=asyncio.FIRST_COMPLETED)
                elif not looked_at:
                    await _until_next_look(in_hand)

    async def deliver_due(self) -> int:
        """Try what is due now until nothing is; return how many attempts that took."""
        tried = 0
        while True:
            claims, more = await claim_due(self.database, CONCURRENCY)
            await asyncio.gather(*map(self.deliver, claims))
            tried += len(claims)
            if not more:
                return tried

    async def deliver(self, claim: Claim) -> None:
        """Try one delivery and record what came of it."""
        answer = await self._tell(claim)
        verdict = judge(answer, claim.attempts, claim.waited, claim.failing, self.dice())
        await record(self.database, claim, answer, verdict)
        WEBHOOKS.labels(verdict.outcome).inc()

    async def _begin(self, attempts: asyncio.TaskGroup, in_hand: set[asyncio.Task[None]]) -> bool:
        try:
            claims, more = await claim_due(self.database, CONCURRENCY - len(in_hand))
        except DATABASE_AWAY as error:
            _log.warning("cannot look for deliveries: %s", type(error).__name__)
            return False
        for claim in claims:
            task = attempts.create_task(self._deliver_or_leave(claim))
            in_hand.add(task)
            task.add_done_callback(in_hand.discard)
        return more

    async def _deliver_or_leave(self, claim: Claim) -> None:
        try:
            await self.deliver(claim)
        except DATABASE_AWAY as error:
            _log.warning("delivery %s is tried again, for it could not be recorded: %s", claim.id, type(error).__name__)

    async def _tell(self, claim: Claim) -> Answer:
        body = body_of(claim)
        try:
            secrets = await self._secrets(claim)
        except SealBroken as broken:
            _log.error("%s", broken)
            return Answer(None, "the endpoint's secret does not open; rotate it")
        headers = {
            "content-type": "application/json",
            "user-agent": "PenguinMails-Webhooks/1",
            **signed_headers(claim.event_id, self.clock(), body, secrets),
        }
        return await self.poster.post(claim.url, body.encode(), headers)

    async def _secrets(self, claim: Claim) -> list[str]:
        sealed = [each for each in (claim.secret_sealed, claim.previous_secret_sealed) if each is not None]
        place = place_of(claim.endpoint_id)
        async with self.database.system() as session:
            keys = await keys_for(session, self.sealer, sealed)
        return [keys.open(each, place).decode() for each in sealed]


async def _until_next_look(in_hand: Collection[asyncio.Task[None]]) -> None:
    """Wait a while, or until an attempt is over: its endpoint may have more that only waited for a place."""
    if in_hand:
        await asyncio.wait(in_hand, timeout=_SECONDS_BETWEEN_LOOKS, return_when=asyncio.FIRST_COMPLETED)
    else:
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def body_of(claim: Claim) -> str:
    """Return the event as endpoints get it, the same at each attempt."""
    event = {"id": str(claim.event_id), "type": claim.type, "timestamp": claim.at.isoformat(), "data": claim.data}
    body = json.dumps(event, separators=(",", ":"))
    if len(body) <= LARGEST_BODY:
        return body
    return json.dumps({**event, "data": {"subject_id": str(claim.subject_id), "left_out": True}})
