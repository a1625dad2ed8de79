"""Lease as the queuer would, where a test is about something else."""

from control_plane.queuer.allot import Line
from control_plane.queuer.leased_send import LeasedSend
from control_plane.queuer.statements import claim
from db.session import Database
from tests.integration.mail_rows import SomeInbox


async def lease_all(database: Database, inbox: SomeInbox) -> list[LeasedSend]:
    """Lease what waits on the inbox's server with normal priority."""
    return await claim(database, {Line(inbox.vps_id, 1): 100}, 300)
