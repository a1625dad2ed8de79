import resource
from collections.abc import Sequence
from types import SimpleNamespace

import psutil
import pytest

from tests.simulation.room import NoRoom, make_room


def test_a_machine_without_memory_for_so_many_is_told_how_much_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    with pytest.raises(NoRoom, match="MiB are available"):
        make_room(10_000)


def test_files_are_raised_as_far_as_needed_and_a_refusal_says_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sequence[int]] = []
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**12))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    make_room(100)
    assert asked == []
    make_room(2000)
    assert asked == [(2512, 4096)]

    def refuse(_: int, limits: Sequence[int]) -> None:
        raise ValueError(limits)

    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(NoRoom, match="the limit is 4096"):
        make_room(5000)
