"""How much mail a mailbox holds. What does not fit waits in its server's queue for as long as mail waits there."""

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.fleet.desired import raise_desired_version
from db.models import Inbox

#: In MiB, as all quotas here: a tebibyte, more than any of the providers' servers holds.
MAX_QUOTA_MB = 1_048_576


async def set_quota(session: AsyncSession, inbox: Inbox, quota_mb: int | None) -> None:
    """Set the quota of a locked inbox, None for none, and have its server apply it."""
    if inbox.quota_mb == quota_mb:
        return
    inbox.quota_mb = quota_mb
    await session.flush()
    if inbox.vps_id is not None:
        await raise_desired_version(session, inbox.vps_id)
