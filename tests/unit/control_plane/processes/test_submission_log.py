"""What the submission process writes to its log."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.processes import submission
from control_plane.settings import Settings


@pytest.fixture
def kept_logging() -> Iterator[None]:
    """Logging is the whole process's: what a test does to it is undone."""
    root, library = logging.getLogger(), logging.getLogger("mail.log")
    handlers, levels = root.handlers[:], (root.level, library.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    library.setLevel(levels[1])


@pytest.mark.usefixtures("kept_logging")
def test_its_lines_have_the_form_that_is_set_and_name_nobody(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async def serve(_settings: Settings, _sockets: list[socket.socket]) -> None:
        logging.getLogger("control_plane.submission").error("a command failed for %s", "anna@example.net")

    monkeypatch.setattr(submission, "serve", serve)
    monkeypatch.setattr(submission, "inherited_sockets", lambda _: [])
    monkeypatch.setattr(os, "umask", lambda _: 0)
    told = {"PENGUIN_STATE_DIR": str(tmp_path), "PENGUIN_LOG": "json", "PENGUIN_SUBMISSION_FDS": "3"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    submission.main()
    line = json.loads(capfd.readouterr().err)
    assert line["message"].startswith("a command failed for ")
    assert "anna" not in line["message"]
