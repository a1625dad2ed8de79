"""Which servers hold a link, and to which hub.

A session's id starts with its hub's own 8 bytes, so that a hub that starts can clear what it left behind when it died.
"""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound

_OPEN = text(
    "UPDATE vps_servers SET link_session = :session, last_seen_at = now(), agent_version = :agent_version"
    " WHERE id = :vps RETURNING desired_version, applied_version,"
    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS opened_at_us"
)
_TELL = text("SELECT pg_notify('link_opened', :link)")
_CLONED = text("UPDATE vps_servers SET cloned_at = now() WHERE id = :vps AND cloned_at IS NULL RETURNING id")
_CLOSE = text("UPDATE vps_servers SET link_session = NULL WHERE id = :vps AND link_session = :session")
_CLEAR = text("UPDATE vps_servers SET link_session = NULL WHERE link_session BETWEEN :first AND :last")

#: Notified with a server's id and when its new link was opened, whichever hub it is at.
LINKS_CHANNEL = "link_opened"


@dataclass(frozen=True, slots=True)
class Versions:
    """The desired-state versions on a server's row, when its link was opened."""

    desired: int
    applied: int
    #: When the link was opened, by the database's clock, which all hubs share.
    opened_at_us: int


def session_id(hub: uuid.UUID) -> uuid.UUID:
    """Return a new session's id at this hub."""
    return uuid.UUID(bytes=hub.bytes[:8] + uuid.uuid4().bytes[8:])


async def open_link(session: AsyncSession, vps_id: uuid.UUID, link: uuid.UUID, agent_version: str) -> Versions:
    """Record a new link, which takes the place of the one before. Raises `NotFound`."""
    row = {"vps": vps_id, "session": link, "agent_version": agent_version[:100] or None}
    versions = (await session.execute(_OPEN, row)).first()
    if versions is None:
        raise NotFound("there is no such server")
    opened = Versions(*versions)
    await session.execute(_TELL, {"link": f"{vps_id} {opened.opened_at_us}"})
    return opened


async def note_clone(session: AsyncSession, vps_id: uuid.UUID) -> bool:
    """Note that two hold a link with one certificate; return whether that is news. Every hub is notified."""
    return await session.scalar(_CLONED, {"vps": vps_id}) is not None


async def close_link(session: AsyncSession, vps_id: uuid.UUID, link: uuid.UUID) -> None:
    """Clear the link unless a newer one has taken its place."""
    await session.execute(_CLOSE, {"vps": vps_id, "session": link})


async def clear_links(session: AsyncSession, hub: uuid.UUID) -> None:
    """Clear every link of this hub, which has just started and so holds none."""
    first, last = (uuid.UUID(bytes=hub.bytes[:8] + fill * 8) for fill in (b"\x00", b"\xff"))
    await session.execute(_CLEAR, {"first": first, "last": last})
