"""Ask for one more address of a server, or give one back: rows in the caller's transaction, and a run for the rest."""

import uuid

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Conflict, NotFound
from control_plane.pipelines.runs import start_run
from control_plane.pools.states import AddressState, move_address

#: Kinds of run; the subject is the address.
ADD_RUN = "address.add"
RETIRE_RUN = "address.retire"
#: With its own a server then has ten, which share what one may do to a receiver (mailstack/postfix/shares.py).
MAX_ADDRESSES = 9

# Locked, so that two requests do not take the same label, nor one too many.
_LOCK = text("SELECT hostname, status FROM vps_servers WHERE tenant_id = :tenant AND id = :vps FOR UPDATE")
_TAKEN = text(
    "SELECT count(*) AS made, count(*) FILTER (WHERE state NOT IN ('released', 'failed')) AS held"
    " FROM server_addresses WHERE tenant_id = :tenant AND vps_id = :vps"
)
_INSERT = text(
    "INSERT INTO server_addresses (id, tenant_id, vps_id, label, hostname)"
    " VALUES (:id, :tenant, :vps, :label, :hostname)"
)
_STATE = text("SELECT state FROM server_addresses WHERE tenant_id = :tenant AND vps_id = :vps AND id = :id FOR UPDATE")


async def request_address(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID) -> uuid.UUID:
    """Insert the address's row, start `address.add`, and return its id.

    Its name is the server's with a number; a number is never used twice. Raises `NotFound`, and `Conflict` while the
    server is not ready or when it has as many as it may.
    """
    key = {"tenant": tenant_id, "vps": vps_id}
    server = (await session.execute(_LOCK, key)).one_or_none()
    if server is None:
        raise NotFound("There is no such server.")
    if server.status != "ready":
        raise Conflict(f"The server is {server.status}; it can have more addresses when it is ready.")
    taken = (await session.execute(_TAKEN, key)).one()
    if taken.held >= MAX_ADDRESSES:
        raise Conflict(f"The server has {MAX_ADDRESSES} further addresses, which is as many as one may have.")
    label = f"a{taken.made + 1}"
    host, _, zone = server.hostname.partition(".")
    address_id = uuid.uuid4()
    await session.execute(_INSERT, {**key, "id": address_id, "label": label, "hostname": f"{host}-{label}.{zone}"})
    await start_run(session, tenant_id, ADD_RUN, address_id)
    return address_id


async def retire_address(session: AsyncSession, tenant_id: uuid.UUID, vps_id: uuid.UUID, address_id: uuid.UUID) -> None:
    """Start `address.retire`; nothing happens when that was asked for before.

    Raises `NotFound`, and `Conflict` while the address is still being got.
    """
    state = await session.scalar(_STATE, {"tenant": tenant_id, "vps": vps_id, "id": address_id})
    if state is None:
        raise NotFound("The server has no such address.")
    if state == AddressState.REQUESTED:
        raise Conflict("The address is still being made ready; it can be given back then.")
    if await move_address(session, address_id, AddressState.DRAINING):
        await start_run(session, tenant_id, RETIRE_RUN, address_id)
