"""The teller: takes notices to channels. Part of the worker; any number may run.

No database session is held while a channel is told. That a channel leads to no server of ours is asked again each time:
names may have come to mean others since it was made.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

from control_plane.alerts.channels import by_apprise, by_webhook
from control_plane.alerts.channels.channels import Target, hosts_of, target_of
from control_plane.alerts.channels.own_fleet import leads_through_fleet, resolved
from control_plane.alerts.outbox import Claim, claim_due, record
from control_plane.alerts.wording import text_of, title_of
from control_plane.clock import Clock, utc_now
from control_plane.errors import InvalidInput
from control_plane.sealing import SealBroken, Sealer
from control_plane.webhooks.attempt import Answer, Poster
from db.notifications import DATABASE_AWAY
from db.session import Database

#: Notices of one process that are told side by side.
CONCURRENCY = 8
_SECONDS_BETWEEN_LOOKS = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells channels; `poster` may reach private networks, for channels are operators'."""

    database: Database
    sealer: Sealer
    poster: Poster
    clock: Clock = utc_now
    #: From 0 to 1; not for secrets.
    dice: Callable[[], float] = random.random

    async def tell_for_ever(self) -> Never:
        """Tell until cancelled; what was in hand is then told again once its claim has run out."""
        while True:
            try:
                told = await self.tell_due()
            except DATABASE_AWAY as error:
                _log.warning("cannot look for notices: %s", type(error).__name__)
                told = 0
            if not told:
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    async def tell_due(self) -> int:
        """Tell what is due now, side by side; return how many that was."""
        async with self.database.system() as session:
            claims = await claim_due(session, self.clock(), CONCURRENCY)
        await asyncio.gather(*map(self._tell, claims))
        return len(claims)

    async def _tell(self, claim: Claim) -> None:
        answer = await self._answer(claim)
        if not answer.delivered:
            _log.warning("notice %s was not taken: %s", claim.id, answer.error or answer.status)
        async with self.database.system() as session:
            await record(session, claim, answer, self.clock(), self.dice())

    async def _answer(self, claim: Claim) -> Answer:
        try:
            async with self.database.system() as session:
                target = await target_of(session, self.sealer, claim.channel_id, claim.target_sealed)
            hosts = await resolved(hosts_of(claim.channel_kind, target.url))
        except SealBroken:
            return Answer(None, "the channel does not open; make it anew")
        except InvalidInput as error:
            return Answer(None, str(error))
        async with self.database.system() as session:
            if await leads_through_fleet(session, hosts):
                return Answer(None, "it leads through the fleet that it tells of")
        return await self._send(claim, target)

    async def _send(self, claim: Claim, target: Target) -> Answer:
        title, text = title_of(claim.kind, claim.body), text_of(claim.kind, claim.body)
        if target.secret is None:
            return await by_apprise.tell(target.url, title, text, str(claim.body.get("severity", "")))
        told = {"type": f"alert.{claim.kind}", "title": title, "text": text, "data": claim.body}
        return await by_webhook.tell(self.poster, target.url, target.secret, claim.id, self.clock(), told)
