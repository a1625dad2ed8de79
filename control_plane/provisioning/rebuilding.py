"""Rebuild a server: its system is made anew from the image, its name, addresses and mail stay.

    held -> emptied -> packed -> fetched -> cut off | rebuilt -> joined -> mail brought back -> configured -> in use

Up to the bar everything can be taken back: the run undoes itself, the mail server runs on with all it has, and the run
says why. After it the only way is forwards, and the mail is here until it is there: a run that cannot go on waits for a
person. From the packing until the mail is back no port of the mail server is open, so that nothing comes to a place
that will be empty; senders' servers try again (RFC 5321 section 4.5.4.1).

The new system is told no configuration before the mail is back (`holds_configuration`): a mail server without mailboxes
would turn away for good what comes for them.
"""

import secrets
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import open_sealed, tenant_keys
from control_plane.errors import Conflict, NotFound
from control_plane.inboxes.server_deeds import REBUILD_KIND, moving_domain
from control_plane.pipelines.runs import open_run_kind, start_run
from control_plane.providers.base import Capability
from control_plane.provisioning.draining import hold_as_wanted
from control_plane.sealing import Sealer

#: Octets of mail that are kept over a rebuild; they lie in the database meanwhile.
MOST_MAIL = 2 * 1024**3
#: Octets of the archive of so much: small messages grow in a tar, by two KiB each at most. A server says how large its
#: archive is, and all that it says is fetched.
MOST_ARCHIVE = 4 * MOST_MAIL
#: Octets of one block of the archive (mailstack/apply/mail_archive.py); the last may have fewer.
BLOCK = 192 * 1024
#: How long the mail server may stand still before the rebuild is called off.
LONGEST_COPY = timedelta(minutes=30)

_KEY_BYTES = 32

_LOCK = text(
    "SELECT provider, status, removal_requested_at FROM vps_servers WHERE tenant_id = :tenant AND id = :id FOR UPDATE"
)
_BEGIN = text(
    "INSERT INTO server_rebuilds (id, tenant_id, vps_id, generation, drained_before, key_sealed)"
    " SELECT :id, v.tenant_id, v.id, (SELECT count(*) + 1 FROM server_rebuilds r WHERE r.vps_id = v.id),"
    " v.draining_since IS NOT NULL, :key FROM vps_servers v WHERE v.id = :vps ON CONFLICT (id) DO NOTHING"
)
_DRAIN = text("UPDATE vps_servers SET draining_since = coalesce(draining_since, now()) WHERE id = :vps")
_USE_AGAIN = text(
    "UPDATE vps_servers v SET draining_since = NULL FROM server_rebuilds r WHERE r.id = :id AND v.id = r.vps_id"
    " AND NOT r.drained_before AND v.removal_requested_at IS NULL"
)
_LOAD = text(
    "SELECT id, generation, key_sealed, packed, now() - packed_at AS packed_for, now() - created_at AS begun_for"
    " FROM server_rebuilds WHERE id = :id"
)
_PACKED = text("UPDATE server_rebuilds SET packed = CAST(:packed AS jsonb), packed_at = now() WHERE id = :id")
_HOLD_CONFIGURATION = text("UPDATE server_rebuilds SET holds_configuration = :held WHERE id = :id")
_END = text(
    "UPDATE server_rebuilds SET holds_configuration = false, finished_at = now(), key_sealed = NULL"
    " WHERE vps_id = :vps AND finished_at IS NULL"
)
_FORGET_BLOCKS = text(
    "DELETE FROM mail_blocks WHERE rebuild_id IN (SELECT id FROM server_rebuilds WHERE vps_id = :vps)"
)
# They hold the key.
_FORGET_COMMANDS = text("DELETE FROM server_commands WHERE vps_id = :vps AND kind = 'keep_mail'")


class PackedMail(BaseModel):
    """What a server said of the archive that it made."""

    model_config = ConfigDict(frozen=True)

    size: int = Field(ge=0, le=MOST_ARCHIVE)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    files: int = Field(ge=0)
    tree_size: int = Field(ge=0)
    tree_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def blocks(self) -> int:
        """How many blocks the archive has."""
        return -(-self.size // BLOCK)


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A rebuild under way; `generation` counts those of its server from 1."""

    id: uuid.UUID
    generation: int
    key: bytes = field(repr=False)
    packed: PackedMail | None
    packed_for: timedelta | None
    begun_for: timedelta


async def request_rebuild(
    session: AsyncSession,
    *,
    tenant_id: uuid.UUID,
    vps_id: uuid.UUID,
    capabilities: Collection[Capability] | None = None,
) -> uuid.UUID:
    """Start the run and return its id.

    `capabilities` are the provider's, where the caller knows them; the run looks for itself. Raises `NotFound`, and
    `Conflict` for a server that is not ready, has another run, whose inboxes move, or whose provider cannot do it.
    """
    key = {"tenant": tenant_id, "id": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.status != "ready" or server.removal_requested_at is not None:
        state = server.status if server.status != "ready" else "being removed"
        raise Conflict(f"A server that is {state} cannot be rebuilt.")
    if capabilities is not None and Capability.REBUILD not in capabilities:
        raise Conflict(cannot_rebuild(server.provider))
    if kind := await open_run_kind(session, tenant_id, vps_id):
        raise Conflict(f"The server has a run that is not over: {kind}.")
    if domain := await moving_domain(session, tenant_id, vps_id):
        raise Conflict(f"Mail of {domain} moves to the server or away from it; rebuild it when that is over.")
    return await start_run(session, tenant_id, REBUILD_KIND, vps_id)


def cannot_rebuild(provider: str) -> str:
    """Say in a sentence that the provider has no such thing, and what to do."""
    if provider == "byo":
        return "A server of your own cannot be rebuilt from here: have it removed, install it anew and join it again."
    return f"The provider {provider} cannot rebuild a server."


async def begin(
    session: AsyncSession, sealer: Sealer, tenant_id: uuid.UUID, rebuild_id: uuid.UUID, vps_id: uuid.UUID
) -> None:
    """Write the rebuild with a key of its own, and have the server drained."""
    keys = await tenant_keys(session, sealer, tenant_id)
    sealed = keys.seal(secrets.token_bytes(_KEY_BYTES), key_place(rebuild_id))
    await session.execute(_BEGIN, {"id": rebuild_id, "vps": vps_id, "key": sealed})
    await session.execute(_DRAIN, {"vps": vps_id})
    await hold_as_wanted(session, vps_id)


async def load_rebuild(session: AsyncSession, sealer: Sealer, rebuild_id: uuid.UUID) -> Rebuild:
    """Return the rebuild of that run. Raises `SealBroken`."""
    row = (await session.execute(_LOAD, {"id": rebuild_id})).one()
    packed = None if row.packed is None else PackedMail.model_validate(row.packed)
    key = await open_sealed(session, sealer, row.key_sealed, key_place(rebuild_id))
    return Rebuild(row.id, row.generation, key, packed, row.packed_for, row.begun_for)


async def record_packed(session: AsyncSession, rebuild_id: uuid.UUID, packed: PackedMail) -> None:
    """Keep what the server packed."""
    await session.execute(_PACKED, {"id": rebuild_id, "packed": packed.model_dump_json()})


async def hold_configuration(session: AsyncSession, rebuild_id: uuid.UUID, *, held: bool) -> None:
    """Tell the server no configuration, or tell it again from its next version on."""
    await session.execute(_HOLD_CONFIGURATION, {"id": rebuild_id, "held": held})


async def end_rebuild(session: AsyncSession, rebuild_id: uuid.UUID, vps_id: uuid.UUID) -> None:
    """Use the server again, unless it was drained before, and forget the copy of its mail with its key."""
    await session.execute(_USE_AGAIN, {"id": rebuild_id})
    await hold_as_wanted(session, vps_id)
    await forget_rebuilds(session, vps_id)


async def forget_rebuilds(session: AsyncSession, vps_id: uuid.UUID) -> None:
    """Forget every copy of a server's mail, with its key."""
    for statement in (_FORGET_BLOCKS, _FORGET_COMMANDS, _END):
        await session.execute(statement, {"vps": vps_id})


def key_place(rebuild_id: uuid.UUID) -> str:
    """Name the place that the archive's key is sealed for."""
    return f"server_rebuilds.key_sealed:{rebuild_id}"
