"""A script of what goes wrong: the next requests that a fault fits are answered as it says.

The order of what can happen to a request is that of a real one: it may be refused before anything is done, it may be
done and its answer lost on the way, and what it began may fail later.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Loss(Enum):
    """What comes in place of the answer, although the deed was done."""

    CLOSED = "the connection is closed"
    GATEWAY_TIMEOUT = "504 without a body of Hetzner's"
    GARBLED = "200 with a body that is no JSON"
    #: For as long as the fake lives, or until `release` is called.
    SILENCE = "nothing comes"


@dataclass(slots=True)
class Fault:
    """Fits `times` requests of the method whose path (without /v1) matches, and whose body holds `holding`.

    The first `skip` that fit are let through.
    """

    method: str
    path: str
    #: An error in place of the deed.
    refuse: str | None = None
    message: str | None = None
    details: dict[str, Any] | None = None
    #: What becomes of the answer after the deed.
    lose: Loss | None = None
    #: The action that the deed begins ends with this error.
    fail_action: tuple[str, str] | None = None
    holding: Mapping[str, Any] | None = None
    times: int = 1
    skip: int = 0
    #: Set when it has happened for the first time.
    reached: threading.Event = field(default_factory=threading.Event)

    def fits(self, method: str, path: str, body: Mapping[str, Any]) -> bool:
        """Return whether it is this one's turn."""
        held = all(body.get(name) == value for name, value in (self.holding or {}).items())
        return self.times > 0 and held and bool(re.fullmatch(self.method, method) and re.fullmatch(self.path, path))


class Script:
    """The faults that are still to come."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._released = threading.Event()

    def add(self, *faults: Fault) -> None:
        """Let these happen, the first that fits first."""
        with self._lock:
            self._faults.extend(faults)

    def take(self, method: str, path: str, body: Mapping[str, Any]) -> Fault | None:
        """Return what happens to this request, and count it."""
        with self._lock:
            for fault in self._faults:
                if not fault.fits(method, path, body):
                    continue
                if fault.skip:
                    fault.skip -= 1
                else:
                    fault.times -= 1
                    fault.reached.set()
                    return fault
        return None

    def wait_for_release(self) -> None:
        """Say nothing until the fake ends."""
        self._released.wait(timeout=60)

    def release(self) -> None:
        """Let the silent requests go."""
        self._released.set()
