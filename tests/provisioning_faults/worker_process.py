"""A worker process of the matrix: the product's own main, with one point at which it ends or stops itself.

Provider, DNS host and steps are wrapped as in the cases within one process (touches.py), but what falls is a real
signal: SIGKILL, or SIGSTOP until somebody sends SIGCONT. Claims, heartbeats and looks are shorter, so that a case in
which one worker outlasts the claim of another takes seconds; agent, mail probe and what would go over SSH are played.
Nothing of this is known to the product: whoever starts the process says by its arguments what happens in it.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from procrastinate import App

from control_plane.pipelines import claims, dispatch, jobs
from control_plane.pipelines import worker as pipeline_worker
from control_plane.pipelines.step import Pipeline
from control_plane.pipelines.worker import Worker
from control_plane.preflight.inspection import Inspector
from control_plane.processes import worker
from control_plane.providers.byo.provider import ByoProvider
from control_plane.providers.hostwinds.provider import HostwindsProvider
from control_plane.provisioning import environment as environments
from control_plane.provisioning.environment import Environment, StepContext
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.steps import verify_mail_flow
from control_plane.settings import Settings
from db.session import Database
from tests.provisioning_faults.file_zone import FileZone
from tests.provisioning_faults.life import finds_nothing_wrong
from tests.provisioning_faults.touches import (
    Blow,
    TouchedPublisher,
    TouchedStep,
    Touches,
    touched,
    touched_commands,
)

#: Seconds; the fence is let pass for less than a claim lives.
_CLAIM_SECONDS = 6.0
_FENCED_SECONDS = 4.0
_STALLED_SECONDS = 4.0
_HEARTBEAT_SECONDS = 1.0
_IDLE_SECONDS = 4.0
_LOOK_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Point:
    """Where it falls, as `Touch.what` names it, and what."""

    where: str
    blow: Blow


@dataclass
class SignalTouches(Touches):
    """Ends or stops the process when it first comes to the point."""

    point: Point | None = None
    fallen: bool = False

    def strike(self, what: str, blows: tuple[Blow, ...]) -> Blow | None:
        if self.fallen or self.point is None or f"{self.step}: {what}" != self.point.where:
            return None
        self.fallen = True
        return self.point.blow

    def when_let_go(self, begin_before: float | None) -> float | None:
        """Leave it: here time passes."""
        return begin_before

    def _hit(self, blow: Blow | None, kill: Blow, pause: Blow) -> None:
        if blow is kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if blow is pause:
            os.kill(os.getpid(), signal.SIGSTOP)


def run_worker(variables: Mapping[str, str], folder: Path, name: str, point: Point | None) -> None:
    """Be the worker process: its log and, once it has come past the point, the file NAME.past are in the folder."""
    os.environ.update(variables)
    log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    with _wrapped(FileZone(folder / "zone.json"), folder / f"{name}.past", point):
        worker.main()


@contextmanager
def _wrapped(zone: FileZone, past: Path, point: Point | None) -> Iterator[None]:
    made: list[SignalTouches] = []

    def make_environment(settings: Settings, database: Database) -> Environment:
        made.append(touches := SignalTouches(point=point))
        real = _MAKE_ENVIRONMENT(settings, database)
        providers = {key: touched(provider, touches) for key, provider in real.providers.items()}
        return replace(real, providers=providers, publisher=TouchedPublisher(zone, touches))

    def wrapped_pipelines(environment: Environment) -> Mapping[str, Pipeline[StepContext]]:
        return {
            kind: replace(pipeline, steps=[TouchedStep(step, made[0]) for step in pipeline.steps])
            for kind, pipeline in pipelines(environment).items()
        }

    async def work_on(self: Worker, run_id: uuid.UUID, kind: str) -> None:
        await _WORK_ON(self, run_id, kind)
        if made[0].fallen:
            await asyncio.to_thread(past.touch)

    with ExitStack() as stack:
        for patched in (
            patch.object(worker, "make_environment", make_environment),
            patch.object(worker, "pipelines", wrapped_pipelines),
            patch.object(worker, "make_publisher", lambda _: zone),
            patch.object(Worker, "work_on", work_on),
            *_played(),
            *_hurried(),
        ):
            stack.enter_context(patched)
        yield


_MAKE_ENVIRONMENT = worker.make_environment
_WORK_ON = Worker.work_on


def _played() -> list[Any]:
    async def nothing(*_: object) -> None:
        """Let it be."""

    return [
        patch.object(verify_mail_flow, "verify_mail_flow", lambda _: None),
        patch.object(Inspector, "inspect", finds_nothing_wrong),
        patch.object(HostwindsProvider, "start_joining", nothing),
        patch.object(ByoProvider, "set_reverse_dns", nothing),
        *touched_commands(),
    ]


def _hurried() -> list[Any]:
    life = timedelta(seconds=_CLAIM_SECONDS)
    return [
        patch.object(claims, "CLAIM_LIFE", life),
        patch.object(pipeline_worker, "CLAIM_LIFE", life),
        patch.object(environments, "FENCED_SECONDS", _FENCED_SECONDS),
        patch.object(dispatch, "_POLL_SECONDS", _LOOK_SECONDS),
        patch.object(jobs, "STALLED_SECONDS", _STALLED_SECONDS),
        patch.object(worker, "STALLED_SECONDS", _STALLED_SECONDS),
        patch.object(worker, "HEARTBEAT_SECONDS", _HEARTBEAT_SECONDS),
        patch.object(worker, "IDLE_SECONDS", _IDLE_SECONDS),
        patch.object(worker, "make_app", _make_app),
        # What else runs by the clock has no part in this.
        patch.object(worker, "add_periodic_jobs", lambda *_: None),
    ]


def _make_app(system_url: str) -> App:
    """Return the app, which looks every second for the jobs of dead workers."""
    app = jobs.make_app(system_url)
    registered = app.periodic_registry.periodic_tasks
    for key, task in registered.items():
        registered[key] = type(task)(task.task, "* * * * * *", task.periodic_id, task.configure_kwargs)
    return app
