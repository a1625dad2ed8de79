"""Follow a server's newest run: drawn anew on a terminal, else a line for each change."""

import asyncio
import json
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from control_plane.cli.installation import system_session
from control_plane.errors import NotFound
from control_plane.operators.servers import server_standing
from control_plane.pipelines.standing import RunStanding, StepStanding

_POLL_SECONDS = 0.3
_MARKS = {"done": "✓", "running": "…", "failed": "✗", "undoing": "↶", "undone": "↶"}


class _Screen(Protocol):
    """Shows a run as it is now."""

    def show(self, run: RunStanding) -> None:
        """Show what has changed."""


async def watch_runs(instance: str, server: uuid.UUID, *, as_json: bool) -> str:
    """Show a server's newest run until it is over or waits for a person; return its state then."""
    if as_json or not sys.stdout.isatty():
        return await _follow(instance, server, _Lines(as_json=as_json))
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        return await _follow(instance, server, _Drawing(live))


async def _follow(instance: str, server: uuid.UUID, screen: _Screen) -> str:
    while True:
        async with system_session(instance) as session:
            standing = await server_standing(session, server)
        if not standing.runs:
            raise NotFound(f"the server {standing.row.hostname} has no runs")
        run = standing.runs[0]
        screen.show(run)
        if not run.is_open or run.state == "needs_person":
            return run.state
        await asyncio.sleep(_POLL_SECONDS)


class _Lines:
    """Each change of the run or of a step, once."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._seen: set[str] = set()

    def show(self, run: RunStanding) -> None:
        """Print what was not printed before."""
        for change in changes(run):
            line = json.dumps(change, default=str) if self._as_json else _in_words(change)
            if line not in self._seen:
                self._seen.add(line)
                print(line, flush=True)


class _Drawing:
    """All steps, in place."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, run: RunStanding) -> None:
        """Draw the run anew."""
        table = Table("", "step", "state", "tries", "seconds", "", title=f"{run.kind}: {run.state}", box=None)
        for step in run.steps:
            table.add_row(_MARKS.get(step.state, " "), step.name, step.state, str(step.attempts), *_times(step))
        for line in (run.reason, run.remedy):
            if line:
                table.add_row("", "", "", "", "", line)
        self._live.update(table, refresh=True)


def changes(run: RunStanding) -> Iterator[dict[str, Any]]:
    """Yield what there is to say of the steps that were begun, in order, and of the run."""
    for step in run.steps:
        if step.attempts:
            reason = step.reason if step.state not in {"done", "undone"} else None
            at = step.undone_at or step.finished_at or step.undo_started_at or step.started_at
            yield {"run": run.id, "step": step.name, "state": step.state, "at": at, "reason": reason}
    at = run.finished_at or run.created_at
    yield {"run": run.id, "kind": run.kind, "state": run.state, "at": at, "reason": run.reason, "remedy": run.remedy}


def _in_words(change: dict[str, Any]) -> str:
    what = change.get("step") or change["kind"]
    said = " — ".join(str(change[name]) for name in ("reason", "remedy") if change.get(name))
    at = change["at"]
    moment = f"{at:%H:%M:%S} " if isinstance(at, datetime) else ""
    return f"{moment}{what}: {change['state']}{f': {said}' if said else ''}"


def _times(step: StepStanding) -> tuple[str, str]:
    began, ended = step.undo_started_at or step.started_at, step.undone_at or step.finished_at
    took = f"{(ended - began).total_seconds():.1f}" if began and ended and ended >= began else ""
    return took, (step.reason or "") if step.state != "done" else ""
