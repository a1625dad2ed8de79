"""Which servers hold a link, and to which hub.

A session's id starts with its hub's own 8 bytes, so that a hub that starts can clear what it left behind when it died.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import NotFound

_OPEN = text(
    "UPDATE vps_servers v SET link_session = told.link, last_seen_at = now(), agent_version = told.agent_version"
    " FROM unnest(CAST(:servers AS uuid[]), CAST(:links AS uuid[]), CAST(:agent_versions AS text[]))"
    "  AS told (vps, link, agent_version) WHERE v.id = told.vps RETURNING v.id, v.desired_version, v.applied_version,"
    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS opened_at_us"
)
_TELL = text("SELECT pg_notify('link_opened', link) FROM unnest(CAST(:links AS text[])) AS link")
_CLONED = text("UPDATE vps_servers SET cloned_at = now() WHERE id = :vps AND cloned_at IS NULL RETURNING id")
_CLOSE = text(
    "UPDATE vps_servers v SET link_session = NULL FROM unnest(CAST(:servers AS uuid[]), CAST(:links AS uuid[]))"
    " AS told (vps, link) WHERE v.id = told.vps AND v.link_session = told.link"
)
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


@dataclass(frozen=True, slots=True)
class Opening:
    """A link that a server's agent opens."""

    vps_id: uuid.UUID
    link: uuid.UUID
    agent_version: str


async def open_links(session: AsyncSession, openings: Sequence[Opening]) -> Sequence[Versions | NotFound]:
    """Record new links, one of a server at most, each of which takes the place of the one before."""
    told = {
        "servers": [opening.vps_id for opening in openings],
        "links": [opening.link for opening in openings],
        "agent_versions": [opening.agent_version[:100] or None for opening in openings],
    }
    opened = {vps_id: Versions(*versions) for vps_id, *versions in await session.execute(_OPEN, told)}
    await session.execute(_TELL, {"links": [f"{vps_id} {link.opened_at_us}" for vps_id, link in opened.items()]})
    return [opened.get(opening.vps_id) or NotFound("there is no such server") for opening in openings]


async def note_clone(session: AsyncSession, vps_id: uuid.UUID) -> bool:
    """Note that two hold a link with one certificate; return whether that is news. Every hub is notified."""
    return await session.scalar(_CLONED, {"vps": vps_id}) is not None


async def close_links(session: AsyncSession, links: Sequence[tuple[uuid.UUID, uuid.UUID]]) -> None:
    """Clear links, given as server and link, unless a newer one has taken a link's place."""
    told = {"servers": [vps_id for vps_id, _ in links], "links": [link for _, link in links]}
    await session.execute(_CLOSE, told)


async def clear_links(session: AsyncSession, hub: uuid.UUID) -> None:
    """Clear every link of this hub, which has just started and so holds none."""
    first, last = (uuid.UUID(bytes=hub.bytes[:8] + fill * 8) for fill in (b"\x00", b"\xff"))
    await session.execute(_CLEAR, {"first": first, "last": last})
