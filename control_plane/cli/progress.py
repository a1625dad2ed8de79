"""Show what takes long: with a spinner on a terminal, in plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from control_plane.cli.output import say
from control_plane.processes.progress import Progress

#: Without a terminal a detail is printed at most this often.
_DETAIL_SECONDS = 5.0


@contextmanager
def terminal_progress() -> Iterator[Progress]:
    """Return a `Progress` that fits standard error."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainProgress()
        return
    with console.status("starting") as status:
        yield SpinnerProgress(status)


class PlainProgress:
    """Lines, with the seconds since the beginning; of what changes fast, one now and then."""

    def __init__(self) -> None:
        self._started = self._last_detail = time.monotonic()

    def step(self, line: str) -> None:
        """Print a line."""
        say(f"{time.monotonic() - self._started:6.1f} s  {line}")

    def detail(self, line: str) -> None:
        """Print a line, unless the one before was printed just now."""
        if time.monotonic() - self._last_detail >= _DETAIL_SECONDS:
            self._last_detail = time.monotonic()
            self.step(f"… {line}")


class SpinnerProgress:
    """Lines that stay, above a spinner with what goes on."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._started = time.monotonic()

    def step(self, line: str) -> None:
        """Print a line above the spinner."""
        self._status.console.print(f"{time.monotonic() - self._started:6.1f} s  {escape(line)}")

    def detail(self, line: str) -> None:
        """Put a line beside the spinner."""
        self._status.update(escape(line))
