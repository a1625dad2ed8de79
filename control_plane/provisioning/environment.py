"""What steps work with: the doors to the world, and the run they belong to."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.clock import Clock, boot_seconds, utc_now
from control_plane.dns.publish import Publisher
from control_plane.pipelines.claims import FENCED_SECONDS
from control_plane.pipelines.step import Run
from control_plane.preflight.inspection import Inspector
from control_plane.providers.base import Provider
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database


@dataclass(frozen=True, slots=True)
class Environment:
    """Made once, in the worker process."""

    #: The system role's.
    database: Database
    providers: Mapping[str, Provider]
    publisher: Publisher
    settings: Settings
    sealer: Sealer
    clock: Clock = utc_now
    #: As the settings say.
    inspector: Inspector = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inspector", Inspector.of(self.settings))


@dataclass(frozen=True, slots=True)
class StepContext:
    """One run in its environment."""

    environment: Environment
    run: Run

    async def fence(self) -> float:
        """Raise `ClaimLost` unless the step is still ours; awaited right before anything in the world is changed.

        Returns when what it lets pass must have begun, as `clock.boot_seconds` counts: the claim outlasts that.
        """
        asked = boot_seconds()
        await self.run.fence()
        return asked + FENCED_SECONDS

    async def hold(self, session: AsyncSession) -> None:
        """Do the same for the rest of a transaction; awaited first in each that writes before the step's record.

        Between this and the commit nobody else can have the step: no pause is long enough.
        """
        await self.run.hold(session)

    @property
    def subject_id(self) -> uuid.UUID:
        """The server or inbox the run is about."""
        return self.run.subject_id

    @property
    def tenant_id(self) -> uuid.UUID:
        """Whose it is."""
        return self.run.tenant_id
