"""What a pipeline is made of: steps that look first, then act, and say what came of it.

A step may be run again at any moment, by another worker, after any crash: it finds out what is already there before it
does anything. It holds no database session while it talks to the world; what it wants written goes into `Done.apply`,
which runs in the transaction that records the step and is rolled back if the worker no longer holds the step's claim.
Right before it changes anything in the world it awaits `Run.fence`: a worker that was paused for an hour stops there.

Each step has an `undo`, which looks first and may be repeated just so; `NothingToUndo` is for those that leave nothing.
To add a step: write the class, put it into its place in provisioning/kinds.py, and the crash matrix has it.
"""

import enum
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from sqlalchemy.ext.asyncio import AsyncSession

ContextT = TypeVar("ContextT")
ContextT_contra = TypeVar("ContextT_contra", contravariant=True)

#: How long one attempt may take where the step does not know better: more than the time-outs of all that a step asks.
CEILING = timedelta(minutes=15)

#: What a step leaves for later steps and for people: anything JSON can hold.
Result = Mapping[str, Any]
#: Writes what a step found or did; what it returns is added to the step's result.
Apply = Callable[[AsyncSession], Awaitable[Result | None]]


@dataclass(frozen=True, slots=True)
class Done:
    """The step is done; `apply` is written together with that fact."""

    result: Result = field(default_factory=dict)
    apply: Apply | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Something has yet to happen; look again in `seconds`."""

    reason: str
    seconds: float = 0.3


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Someone has to do what `remedy` says; it is looked at again in `seconds`, or when that person says so."""

    reason: str
    remedy: str
    seconds: float = 3600.0


class Cause(enum.Enum):
    """Why something cannot be done; what follows from that is the pipeline's to say (`Pipeline.resolutions`)."""

    #: Whoever was asked said no, and will say so again.
    REFUSED = "refused"
    #: The step's patience is at an end.
    GIVEN_UP = "given up"
    #: What the run is about, or what that needs, is going away or gone.
    GONE = "gone"


class Resolution(enum.Enum):
    """What becomes of a run that cannot go on."""

    UNDO = "undo"
    ASK_PERSON = "ask a person"
    #: End it as failed; what it did stays, for another run to take away.
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Failed:
    """It cannot be done; `reason` is a sentence for the tenant."""

    reason: str
    cause: Cause = Cause.REFUSED


Outcome = Done | Wait | AskPerson | Failed


async def _no_fence() -> None:
    """Pass."""


async def _no_hold(_session: AsyncSession) -> None:
    """Pass."""


class Step(Protocol[ContextT_contra]):
    """One step; without state of its own."""

    @property
    def name(self) -> str:
        """What `pipeline_steps.name` holds."""

    @property
    def patience(self) -> timedelta:
        """How long after its first attempt the step may still wait or be tried again."""

    async def run(self, context: ContextT_contra) -> Outcome:
        """Look, act, and say what came of it; an exception means that it is tried again."""

    async def undo(self, context: ContextT_contra) -> Outcome:
        """Take back what `run` did or may have done, likewise; the steps after this one are undone already."""


@runtime_checkable
class KnowsItsCeiling(Protocol):
    """A step of which one attempt may take longer than `CEILING`."""

    @property
    def ceiling(self) -> timedelta:
        """How long one `run` or `undo` may take; then it is broken off, and tried again like one that failed."""


def ceiling_of(step: Step[Any]) -> timedelta:
    """Return how long one attempt at the step may take."""
    return step.ceiling if isinstance(step, KnowsItsCeiling) else CEILING


class NothingToUndo:
    """For steps that only look, or write what another step's undo takes away."""

    async def undo(self, _context: object) -> Outcome:
        """Leave everything as it is."""
        return Done()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline for one subject, with the results of the steps that are done.

    `fence` raises `ClaimLost` (claims.py) unless the step is still the caller's; `hold` does too, and keeps it so until
    the session's transaction ends.
    """

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    subject_id: uuid.UUID
    results: Mapping[str, Result]
    fence: Callable[[], Awaitable[None]] = field(default=_no_fence, compare=False, repr=False)
    hold: Callable[[AsyncSession], Awaitable[None]] = field(default=_no_hold, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pipeline(Generic[ContextT]):
    """The steps of one kind of run, in order.

    `context` makes what the steps work with; `on_failure` writes what a failure means for the subject, in the
    transaction that records it, and `on_person` likewise that a person is waited for, with the reason, or with None
    that it goes on. `resolutions` says what becomes of a run that cannot go on, and `remedy` what a person is told
    where the step itself did not say.
    """

    kind: str
    steps: Sequence[Step[ContextT]]
    context: Callable[[Run], ContextT]
    on_failure: Callable[[AsyncSession, Run, str], Awaitable[None]]
    on_person: Callable[[AsyncSession, Run, str | None], Awaitable[None]]
    resolutions: Mapping[Cause, Resolution]
    remedy: str
