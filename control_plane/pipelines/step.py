"""What a pipeline is made of: steps that look first, then act, and say what came of it.

A step may be run again at any moment, by another worker, after any crash: it finds out what is already there before it
does anything. It holds no database session while it talks to the world; what it wants written goes into `Done.apply`,
which runs in the transaction that records the step and is rolled back if the worker no longer holds the step's claim.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

ContextT = TypeVar("ContextT")
ContextT_contra = TypeVar("ContextT_contra", contravariant=True)

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
class Failed:
    """It cannot be done; `reason` is a sentence for the tenant."""

    reason: str


Outcome = Done | Wait | Failed


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


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a pipeline for one subject, with the results of the steps that are done."""

    id: uuid.UUID
    tenant_id: uuid.UUID
    kind: str
    subject_id: uuid.UUID
    results: Mapping[str, Result]


@dataclass(frozen=True, slots=True)
class Pipeline(Generic[ContextT]):
    """The steps of one kind of run, in order.

    `context` makes what the steps work with; `on_failure` writes what a failure means for the subject, in the
    transaction that records it.
    """

    kind: str
    steps: Sequence[Step[ContextT]]
    context: Callable[[Run], ContextT]
    on_failure: Callable[[AsyncSession, Run, str], Awaitable[None]]
