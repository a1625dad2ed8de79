"""One change from order to end; cut short anywhere, another run goes on from what is written down.

What changes is the agent's release (machine.py) or the mail packages (agent/packages), which is called a release here
likewise. What is about to be done is noted before it is done, so a new release is never left running unwatched.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from agent.upgrade.judge import Look, Verdict, judge
from agent.upgrade.order import Files, Order, Progress
from agent.upgrade.states import State

#: Seconds between looks.
_LOOK = 0.5
_UNREADABLE = "its order cannot be read any more"

W = TypeVar("W")
W_contra = TypeVar("W_contra", contravariant=True)


class Refused(Exception):
    """A release cannot be installed here; the message says why. What runs was not touched."""


class Machine(Protocol[W_contra]):
    """What is done to the server."""

    def current(self) -> str:
        """Return the name of the release that is switched to."""

    def install(self, release: str, wanted: W_contra) -> None:
        """Make a release ready beside the current one. Raises `Refused`."""

    def is_installed(self, release: str) -> bool:
        """Whether it is there, whole."""

    def switch(self, release: str) -> None:
        """Make it the current one and start it; it is not waited for."""

    def look(self, seconds: float) -> Look:
        """Look at how the current one does, `seconds` after the switch."""

    def settle(self, release: str, previous: str) -> None:
        """Keep these two and no other, and let the first be the one that is gone back to."""

    def discard(self, release: str) -> None:
        """Take a release away that does not run."""


class CarryingOut(Generic[W]):
    """Carries out one order."""

    def __init__(
        self,
        machine: Machine[W],
        files: Files[W],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._machine = machine
        self._files = files
        self._clock = clock
        self._pause = pause

    def run(self, order: Order[W]) -> Progress:
        """Return how it ended; the order is gone then."""
        ended = self._back(order.release) if order.wanted is None else self._forth(order, order.wanted)
        self._files.note(ended)
        self._files.order_done()
        return ended

    def call_off(self) -> Progress | None:
        """End what an order has begun that cannot be read any more; return how, or None where nothing is under way.

        Nothing new is begun: what was wanted is not known. What is watched would run on with nobody to watch it, and is
        gone back from; what was ordered back and is not begun, the control plane orders again.
        """
        before, ended = self._files.progress(), None
        if before is not None and before.state is State.INSTALLING:
            self._machine.discard(before.release)
            ended = replace(before, state=State.REFUSED, reason=_UNREADABLE)
        elif before is not None and before.state in {State.WATCHING, State.ROLLING_BACK}:
            ended = self._return(replace(before, state=State.ROLLING_BACK, reason=before.reason or _UNREADABLE))
        if ended is not None:
            self._files.note(ended)
        self._files.order_done()
        return ended

    def _forth(self, order: Order[W], wanted: W) -> Progress:
        before = self._files.progress()
        if before is None or before.release != order.release or before.state in {State.REFUSED, State.ROLLED_BACK}:
            before = Progress(order.release, self._machine.current(), State.INSTALLING)
            if before.previous == order.release:
                return Progress(order.release, "", State.INSTALLED, "it runs already")
        match before.state:
            case State.INSTALLED:
                return before
            case State.ROLLING_BACK:
                return self._return(before)
            case State.INSTALLING:
                self._files.note(before)
                try:
                    self._machine.install(order.release, wanted)
                except Refused as error:
                    self._machine.discard(order.release)
                    return Progress(order.release, before.previous, State.REFUSED, str(error))
        return self._watched(order, before.previous)

    def _watched(self, order: Order[W], previous: str) -> Progress:
        self._files.note(Progress(order.release, previous, State.WATCHING))
        if self._machine.current() != order.release:
            self._machine.switch(order.release)
        # A word that came before that, or while it was done, tells nothing of what is there after.
        self._files.forget_confirmation()
        verdict, reason = self._watch(order)
        if verdict is Verdict.GOOD:
            self._machine.settle(order.release, previous)
            return Progress(order.release, previous, State.INSTALLED)
        return self._return(Progress(order.release, previous, State.ROLLING_BACK, reason))

    def _watch(self, order: Order[W]) -> tuple[Verdict, str]:
        began, confirmed_at = self._clock(), None
        while True:
            self._pause(_LOOK)
            now = self._clock()
            if confirmed_at is None and self._files.is_confirmed(order.release):
                confirmed_at = now
            since = None if confirmed_at is None else now - confirmed_at
            verdict, reason = judge(self._machine.look(now - began), now - began, since, order.patience)
            if verdict is not Verdict.WAIT:
                return verdict, reason

    def _back(self, release: str) -> Progress:
        """Go back at the control plane's word, to the release that is kept."""
        before = self._files.progress()
        if before is None or before.release != release or not self._machine.is_installed(before.previous):
            return Progress(release, "", State.REFUSED, "the release before it is not kept here")
        if self._machine.current() not in {release, before.previous} or before.state in {
            State.REFUSED,
            State.ROLLED_BACK,
        }:
            return before
        reason = before.reason or "the control plane wants it back"
        return self._return(Progress(release, before.previous, State.ROLLING_BACK, reason))

    def _return(self, progress: Progress) -> Progress:
        self._files.note(progress)
        self._machine.switch(progress.previous)
        self._machine.settle(progress.previous, progress.previous)
        return Progress(progress.release, progress.previous, State.ROLLED_BACK, progress.reason)
