"""The live links of this process, one for each server."""

import asyncio
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from control_plane.errors import Unavailable
from control_plane.hub.session import Session
from control_plane.telemetry.instruments import LINKS

_log = logging.getLogger(__name__)

#: Seconds in which an agent whose server has opened another link can prove that it is there all the same.
ANSWER_WITHIN = 3.0


class Sessions:
    """Knows the newest session of each server that is linked here.

    A second link means that the agent has gone from the first one, which we have not noticed; or that somebody has its
    certificate. So the first is asked: an agent that has gone does not answer, and its link is ended.
    """

    def __init__(self, answer_within: float = ANSWER_WITHIN) -> None:
        self._answer_within = answer_within
        self._by_vps: dict[uuid.UUID, Session] = {}
        self._live: set[Session] = set()
        #: All of a server's, by its id as notifications name it: a hint about one is not to cost a look at all.
        self._of_server: dict[str, list[Session]] = {}
        self._none_live = asyncio.Event()
        self._none_live.set()

    @contextmanager
    def registered(self, session: Session) -> Iterator[None]:
        """Hold the session here. Hints reach it from now on: none is lost between what it reads and what it hears."""
        self._live.add(session)
        self._of_server.setdefault(str(session.vps_id), []).append(session)
        LINKS.set(len(self._live))
        self._none_live.clear()
        try:
            yield
        finally:
            if self._by_vps.get(session.vps_id) is session:
                del self._by_vps[session.vps_id]
            self._live.remove(session)
            self._leave(session)
            LINKS.set(len(self._live))
            if not self._live:
                self._none_live.set()

    def note_opened(self, session: Session) -> None:
        """Have a session whose link is open now stand for its server; one that stood before is asked who is there."""
        before = self._by_vps.get(session.vps_id)
        newest = session if before is None or before.opened_at_us <= session.opened_at_us else before
        self._by_vps[session.vps_id] = newest
        _log.info("link of %s is up", session.vps_id)
        if before:
            (before if newest is session else session).challenge(self._answer_within)

    def look_again(self, vps_id: str | None) -> None:
        """Let the session of this server, or every session, see whether its desired state or standing changed."""
        for session in self._meant(vps_id):
            session.look_again.call()

    def opened(self, link: str | None) -> None:
        """Ask whoever holds an older link of a server: `link` is its id and when one was opened, here or elsewhere."""
        if link is None:
            return
        vps_id, _, opened_at_us = link.partition(" ")
        for session in self._meant(vps_id):
            # One that is being opened hears of its own opening, perhaps before it knows when that was.
            if session.opened_at_us and session.opened_at_us < int(opened_at_us):
                session.challenge(self._answer_within)

    def commands_waiting(self, vps_id: str | None) -> None:
        """Let the session of this server, or every session, see whether there are commands for it."""
        for session in self._meant(vps_id):
            session.commands_waiting.call()

    def end_all(self) -> None:
        """End every link: the hub goes away, and the agents are to come again."""
        for session in self._live:
            session.end(Unavailable("the hub is going away"))

    async def all_ended(self) -> None:
        """Return when no link is live any more and the end of each is recorded."""
        await self._none_live.wait()

    def _meant(self, vps_id: str | None) -> list[Session]:
        return list(self._live) if vps_id is None else list(self._of_server.get(vps_id, ()))

    def _leave(self, session: Session) -> None:
        server = str(session.vps_id)
        self._of_server[server].remove(session)
        if not self._of_server[server]:
            del self._of_server[server]
