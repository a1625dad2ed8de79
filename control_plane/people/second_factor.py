"""The second step of a log-in: an authenticator's codes, each good once, a passkey, or recovery codes."""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import open_sealed, platform_keys
from control_plane.errors import Conflict, InvalidInput
from control_plane.identity.secret_keys import sha256_of
from control_plane.identity.totp import new_recovery_codes, new_totp_secret, step_of_code
from control_plane.people.origins import Origin
from control_plane.people.security_events import Happened, note
from control_plane.sealing import Sealer
from db.models import Passkey, RecoveryCode, TotpSecret


async def is_on(session: AsyncSession, person_id: uuid.UUID) -> bool:
    """Return whether a log-in of this person has a second step."""
    return await has_authenticator(session, person_id) or await has_passkey(session, person_id)


async def has_authenticator(session: AsyncSession, person_id: uuid.UUID) -> bool:
    """Return whether a person has an authenticator in use."""
    query = select(TotpSecret.confirmed_at).where(TotpSecret.person_id == person_id)
    return await session.scalar(query) is not None


async def has_passkey(session: AsyncSession, person_id: uuid.UUID) -> bool:
    """Return whether a person has a passkey."""
    return bool(await session.scalar(select(exists().where(Passkey.person_id == person_id))))


async def enrol(session: AsyncSession, sealer: Sealer, person_id: uuid.UUID, now: dt.datetime) -> str:
    """Keep a new secret, of no use until a code of it was shown, and return it; raise `Conflict` when one is in use."""
    if await has_authenticator(session, person_id):
        raise Conflict("There is an authenticator already; take it away first.")
    secret = new_totp_secret()
    keys = await platform_keys(session, sealer)
    values = {"secret_sealed": keys.seal(secret.encode(), _place(person_id)), "last_step": 0, "created_at": now}
    kept = postgresql_insert(TotpSecret).values(person_id=person_id, **values)
    await session.execute(kept.on_conflict_do_update(index_elements=[TotpSecret.person_id], set_=values))
    return secret


async def confirm(
    session: AsyncSession, sealer: Sealer, person_id: uuid.UUID, code: str, now: dt.datetime
) -> Sequence[str]:
    """Put the authenticator into use and return new recovery codes, shown once.

    Raises `Conflict` when there is none that waits for it, and `InvalidInput` for a code that is not one of its.
    """
    if await has_authenticator(session, person_id) or not await _is_enrolled(session, person_id):
        raise Conflict("There is no authenticator that waits to be confirmed.")
    if not await _takes_code(session, sealer, person_id, code, now):
        raise wrong_code()
    await session.execute(update(TotpSecret).where(TotpSecret.person_id == person_id).values(confirmed_at=now))
    return await renew_recovery_codes(session, person_id)


async def renew_recovery_codes(session: AsyncSession, person_id: uuid.UUID) -> Sequence[str]:
    """Return new recovery codes, shown once; earlier ones are of no use from now on."""
    await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person_id))
    codes = new_recovery_codes()
    rows = [{"code_sha256": sha256_of(each), "person_id": person_id} for each in codes]
    await session.execute(insert(RecoveryCode), rows)
    return codes


async def take_away(session: AsyncSession, person_id: uuid.UUID, origin: Origin, now: dt.datetime) -> None:
    """Do without an authenticator from now on."""
    if await has_authenticator(session, person_id):
        await note(session, person_id, Happened.AUTHENTICATOR_REMOVED, origin, now)
    await session.execute(delete(TotpSecret).where(TotpSecret.person_id == person_id))
    await forget_useless_codes(session, person_id)


async def forget_useless_codes(session: AsyncSession, person_id: uuid.UUID) -> None:
    """Forget the recovery codes of somebody who has nothing left that they stand for."""
    if not await is_on(session, person_id):
        await session.execute(delete(RecoveryCode).where(RecoveryCode.person_id == person_id))


async def takes(session: AsyncSession, sealer: Sealer, person_id: uuid.UUID, code: str, now: dt.datetime) -> bool:
    """Return whether a code opens the second step; it is used up by that."""
    if code.isdigit():
        # One that was not confirmed yet may be somebody else's, who found a session left open.
        return await has_authenticator(session, person_id) and await _takes_code(session, sealer, person_id, code, now)
    burnt = delete(RecoveryCode).where(
        RecoveryCode.person_id == person_id, RecoveryCode.code_sha256 == sha256_of(code.lower())
    )
    return await session.scalar(burnt.returning(RecoveryCode.person_id)) is not None


def wrong_code() -> InvalidInput:
    """Return what is said of a code that is not taken."""
    return InvalidInput("The code is not right, or was used before.", "/code")


async def _is_enrolled(session: AsyncSession, person_id: uuid.UUID) -> bool:
    return await session.scalar(select(TotpSecret.person_id).where(TotpSecret.person_id == person_id)) is not None


async def _takes_code(session: AsyncSession, sealer: Sealer, person_id: uuid.UUID, code: str, now: dt.datetime) -> bool:
    query = select(TotpSecret.secret_sealed, TotpSecret.last_step).where(TotpSecret.person_id == person_id)
    # Locked: of two that show one code at once, one is right.
    found = (await session.execute(query.with_for_update())).one_or_none()
    if found is None:
        return False
    secret = (await open_sealed(session, sealer, found.secret_sealed, _place(person_id))).decode()
    step = step_of_code(secret, code, now, found.last_step)
    if step is None:
        return False
    await session.execute(update(TotpSecret).where(TotpSecret.person_id == person_id).values(last_step=step))
    return True


def _place(person_id: uuid.UUID) -> str:
    return f"totp_secrets.secret_sealed:{person_id}"
