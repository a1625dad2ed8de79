"""Faulty versions of the product, each breaking one rule that the guarantee stands on. The harness alone uses them.

`become(name)` changes the running process. A process of the control plane becomes one through `sitecustomize` beside
this file; the agent through a `.pth` file that the harness puts on its server, with a copy of this one. So it imports
nothing of the tests, and of the product only what the process has that it is in.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any


def become(name: str) -> None:
    """Turn this process into a mutant."""
    _MUTANTS[name]()


def _acknowledge_before_commit() -> None:
    """The API says yes and commits much later: no hunt is so slow that the commit comes first."""
    from db.session import Database  # noqa: PLC0415 - it is not there on a server

    commits: set[asyncio.Task[Any]] = set()

    async def commit_later(context: Any) -> None:  # noqa: ANN401 - either of the two
        await asyncio.sleep(3600)
        await context.__aexit__(None, None, None)

    def hasty(whole: Callable[..., Any]) -> Any:  # noqa: ANN401 - stands for what it wraps
        @contextlib.asynccontextmanager
        async def transaction(self: Database, tenant_id: uuid.UUID) -> AsyncIterator[Any]:
            context = whole(self, tenant_id)
            yield await context.__aenter__()
            commits.add(asyncio.create_task(commit_later(context)))

        return transaction

    Database.tenant = hasty(Database.tenant)  # type: ignore[method-assign]
    Database.tenant_connection = hasty(Database.tenant_connection)  # type: ignore[method-assign]


def _redis_as_the_only_copy() -> None:
    """The queuer never writes again what Redis lost, and takes no lease back."""
    from control_plane.queuer.queuer import Queuer  # noqa: PLC0415
    from control_plane.queuer.refill import Refill  # noqa: PLC0415
    from control_plane.queuer.streams import begin_filling, mark_whole  # noqa: PLC0415

    async def fill(self: Refill, vps_id: uuid.UUID) -> bool:
        await begin_filling(self.redis, vps_id, "mutant")
        return await mark_whole(self.redis, vps_id, "mutant")

    async def never(*_: object) -> float:
        return 5.0

    Refill.fill = fill  # type: ignore[method-assign]
    Refill._write_lost = never  # type: ignore[method-assign, assignment]
    Queuer.take_back = never  # type: ignore[method-assign, assignment]


def _no_journal() -> None:
    """Nothing that the agent journals survives its process."""
    from agent.journal import journal  # noqa: PLC0415

    whole = journal.connect  # type: ignore[attr-defined]

    def connect(path: Path) -> Any:  # noqa: ANN401 - as connect
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()
        return whole(path)

    journal.connect = connect  # type: ignore[attr-defined]


def _resend_on_unknown() -> None:
    """The agent submits again what it does not know to be submitted."""
    from agent.relay.patience import persist  # noqa: PLC0415
    from agent.relay.settle import Settler  # noqa: PLC0415

    async def settle(self: Any, sends: Sequence[Any], client_ports: Collection[int]) -> None:  # noqa: ANN401
        for send in sends:
            await persist(partial(self._journal.take_back, send.envelope.send_id))
            self._hand.offer(send)

    Settler.settle = settle  # type: ignore[method-assign]


def _lease_ignored() -> None:
    """The agent submits whenever it can, lease or no lease."""
    from agent.relay.hand import Hand  # noqa: PLC0415
    from agent.relay.sessions import Submitter  # noqa: PLC0415

    Submitter._overdue = lambda self, send: False  # type: ignore[method-assign]
    Hand.take_overdue = lambda self, now: []  # type: ignore[method-assign]


_MUTANTS: dict[str, Callable[[], None]] = {
    "acknowledge before commit": _acknowledge_before_commit,
    "redis as the only copy": _redis_as_the_only_copy,
    "no journal": _no_journal,
    "resend on unknown": _resend_on_unknown,
    "lease ignored": _lease_ignored,
}
