"""An inbox's row with its domain and server, as steps need it."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text

from control_plane.provisioning.environment import StepContext
from control_plane.provisioning.states import InboxStatus, ServerStatus

_INBOX = text(
    "SELECT i.domain_id, d.name, i.vps_id, host(v.ip_address), i.status, v.status, v.status_reason"
    " FROM inboxes i JOIN domains d ON d.id = i.domain_id JOIN vps_servers v ON v.id = i.vps_id WHERE i.id = :id"
)


@dataclass(frozen=True, slots=True)
class Inbox:
    """`server_address` is None until the server's provider has made it."""

    domain_id: uuid.UUID
    domain: str
    vps_id: uuid.UUID
    server_address: str | None
    status: InboxStatus
    server_status: ServerStatus
    server_status_reason: str | None

    @property
    def obstacle(self) -> str | None:
        """Why it can never be set up, if that is so."""
        if self.status is InboxStatus.DELETING:
            return "the inbox's removal was asked for"
        match self.server_status:
            case ServerStatus.FAILED:
                return f"the inbox's server failed: {self.server_status_reason}"
            case ServerStatus.DELETING | ServerStatus.DELETED:
                return "the inbox's server is gone"
            case _:
                return None


async def load_inbox(context: StepContext) -> Inbox:
    """Return the inbox that the run is about."""
    async with context.environment.database.system() as session:
        row = (await session.execute(_INBOX, {"id": context.subject_id})).one()
    domain_id, domain, vps_id, address, status, server_status, reason = row
    return Inbox(domain_id, domain, vps_id, address, InboxStatus(status), ServerStatus(server_status), reason)
