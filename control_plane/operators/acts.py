"""The record of what operators change: who, what, when and why, written in the transaction that changes it.

Nothing is ever altered or taken away here: the system role may only add and read.
"""

import enum
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.ids import uuid7
from db.models import OperatorAct


class Door(enum.StrEnum):
    """How an operator came in."""

    REST = "rest"
    CLI = "cli"


class Act(enum.StrEnum):
    """What an operator can do that is recorded."""

    PAUSE = "queue.pause"
    RESUME = "queue.resume"
    RETRY = "queue.retry"
    DROP = "queue.drop"
    CREATE_KEY = "operator-key.create"
    POWER = "vps.power"
    REBUILD = "vps.rebuild"
    DRAIN = "vps.drain"
    UNDRAIN = "vps.undrain"
    REMOVE = "vps.remove"
    DRIFT_POLICY = "vps.drift-policy"
    RENEW_CERTIFICATE = "vps.renew-certificate"
    REVOKE_KEY = "operator-key.revoke"
    REAP = "vps.reap"
    RESUME_RUN = "vps.resume"
    ACKNOWLEDGE = "alert.acknowledge"
    ADD_RELEASE = "release.add"
    PLAN_UPGRADE = "upgrade.plan"
    APPLY_UPGRADE = "upgrade.apply"
    ABORT_UPGRADE = "upgrade.abort"
    SILENCE = "alert.silence"
    END_SILENCE = "alert.end-silence"
    ADD_CHANNEL = "alert-channel.add"
    REMOVE_CHANNEL = "alert-channel.remove"
    TEST_CHANNEL = "alert-channel.test"
    BAN = "vps.ban"
    COMMAND = "vps.command"
    FORBID_HEALING = "healing.forbid"
    ALLOW_HEALING = "healing.allow"
    UNBAN = "vps.unban"
    RE_ENROL = "vps.re-enrol"
    MOVE_INBOX = "inbox.move"
    MAIL_BACKUPS = "tenant.mail-backups"
    SUPPRESS = "suppression.add"
    REMOVE_SUPPRESSION = "suppression.remove"
    RELEASE_RESTORED = "backup.release"
    EXPORT_SUBJECT = "gdpr.export"
    ERASE_SUBJECT = "gdpr.erase"
    ERASE_TENANT = "tenant.erase"
    REVEAL_ADDRESSES = "addresses.reveal"
    ISOLATE_TENANT = "tenant.isolate"
    REJOIN_TENANT = "tenant.rejoin"
    CREATE_TENANT = "tenant.create"
    CREATE_WORKSPACE = "workspace.create"
    CREATE_API_KEY = "api-key.create"
    REVOKE_API_KEY = "api-key.revoke"
    SET_PLAN = "plan.set"
    INVITE_SERVER = "vps.invite"
    PREFLIGHT = "vps.preflight"
    ADD_ADDRESS = "address.add"
    RETIRE_ADDRESS = "address.retire"
    ROTATE_DKIM = "domain.rotate-dkim"
    REPAIR_DOMAIN = "domain.repair"
    FORGET_ORDER = "order.forget"
    ROTATE_KEYS = "keys.rotate"
    RETIRE_KEYS = "keys.retire"
    ROTATE_SIGNING_KEY = "keys.rotate-signing"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a key and the request it came with, or a user of this machine."""

    door: Door
    name: str
    key_id: uuid.UUID | None = None
    request_id: str | None = None


async def record(
    session: AsyncSession, actor: Actor, act: Act, subject: Mapping[str, object], reason: str | None = None
) -> None:
    """Write down one act; `subject` names what it was done to, and what is None in it is left out."""
    session.add(
        OperatorAct(
            id=uuid7(),
            door=actor.door.value,
            key_id=actor.key_id,
            actor=actor.name,
            act=act.value,
            subject={name: _plain(value) for name, value in subject.items() if value is not None},
            reason=reason,
            request_id=actor.request_id,
        )
    )
    await session.flush()


async def list_acts(session: AsyncSession, after: uuid.UUID | None, limit: int) -> Sequence[OperatorAct]:
    """Return a page of acts, newest first, from the one before `after`."""
    query = select(OperatorAct).order_by(OperatorAct.id.desc()).limit(limit)
    return (await session.scalars(query if after is None else query.where(OperatorAct.id < after))).all()


def _plain(value: object) -> object:
    return value if isinstance(value, list) else str(value)
