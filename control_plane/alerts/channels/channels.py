"""The channels: ways to tell somebody of alerts. What a channel leads to is sealed and never shown again."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import httpx
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.alerts.channels import by_apprise
from control_plane.alerts.channels.own_fleet import leads_through_fleet
from control_plane.data_keys.keys import open_sealed, platform_keys
from control_plane.errors import Conflict, InvalidInput, NotFound
from control_plane.monitoring.alert_rules import SEVERITIES
from control_plane.sealing import Sealer
from control_plane.webhooks.signing import new_secret
from control_plane.webhooks.urls import require_url
from db.ids import uuid7
from db.models import AlertChannel, AlertNotice

Kind = Literal["apprise", "webhook"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel leads, and what signs there."""

    url: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel to make. `after_minutes` without anybody's acknowledgement it is told; at once with 0."""

    name: str
    kind: Kind
    url: str = field(repr=False)
    least_severity: str = "warning"
    after_minutes: int = 0


def hosts_of(kind: str, url: str) -> Sequence[str]:
    """Return the hosts that a channel would lead to; raise `InvalidInput` for a URL that is none."""
    if kind == "apprise":
        return by_apprise.hosts_of(url)
    # An operator's webhook may lie in a private network.
    require_url(url, private_targets=True)
    return [httpx.URL(url).host]


async def add_channel(session: AsyncSession, master: Sealer, new: NewChannel) -> tuple[AlertChannel, str | None]:
    """Add a channel; return it with the secret that signs its webhooks, which is never shown again.

    What the URL's names stand for is asked when it is told (teller.py). Raises `InvalidInput` and `Conflict`.
    """
    if new.least_severity not in SEVERITIES:
        raise InvalidInput(f"there are the severities {', '.join(SEVERITIES)}", "/least_severity")
    if await leads_through_fleet(session, {host: [host] for host in hosts_of(new.kind, new.url)}):
        raise InvalidInput("this leads through the fleet that it would tell of", "/url")
    secret = new_secret() if new.kind == "webhook" else None
    channel_id = uuid7()
    keys = await platform_keys(session, master)
    target = json.dumps({"url": new.url, "secret": secret}).encode()
    channel = AlertChannel(
        id=channel_id,
        name=new.name,
        kind=new.kind,
        target_sealed=keys.seal(target, place_of(channel_id)),
        least_severity=new.least_severity,
        after_minutes=new.after_minutes,
    )
    session.add(channel)
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict("there is a channel of this name") from None
    await session.refresh(channel)
    return channel, secret


async def list_channels(
    session: AsyncSession, after: str | None = None, limit: int | None = None
) -> Sequence[AlertChannel]:
    """Return a page of channels by name, from the one after `after`; without a limit, all."""
    query = select(AlertChannel).order_by(AlertChannel.name).limit(limit)
    return (await session.scalars(query if after is None else query.where(AlertChannel.name > after))).all()


async def remove_channel(session: AsyncSession, name: str) -> uuid.UUID:
    """Remove a channel with what waits for it; raise `NotFound`."""
    removed: uuid.UUID | None = await session.scalar(
        delete(AlertChannel).where(AlertChannel.name == name).returning(AlertChannel.id)
    )
    if removed is None:
        raise NotFound("there is no such channel")
    return removed


async def test_channel(session: AsyncSession, name: str) -> uuid.UUID:
    """Leave a notice that tries the channel, and return its id; raise `NotFound`."""
    channel = await session.scalar(select(AlertChannel).where(AlertChannel.name == name))
    if channel is None:
        raise NotFound("there is no such channel")
    notice_id = uuid7()
    fingerprint = f"test:{notice_id}"
    session.add(AlertNotice(id=notice_id, channel_id=channel.id, fingerprint=fingerprint, kind="test", body={}))
    await session.flush()
    return notice_id


async def target_of(session: AsyncSession, master: Sealer, channel_id: uuid.UUID, sealed: bytes) -> Target:
    """Open what a channel leads to; raise `SealBroken`."""
    return Target(**json.loads(await open_sealed(session, master, sealed, place_of(channel_id))))


def place_of(channel_id: uuid.UUID) -> str:
    """Return what a channel's target is sealed for."""
    return f"alert_channels.target_sealed:{channel_id}"
