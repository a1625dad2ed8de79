import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.identity.own_log import start_own_log
from agent.identity.store import Enrolment, IdentityStore
from log_lines import lines


@pytest.fixture(autouse=True)
def _own_root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    # start_logging closes the handlers that it takes away.
    root.handlers = []
    monkeypatch.setattr(lines, "_HERE", {})
    yield
    root.handlers = before
    root.setLevel(level)


def told(capfd: pytest.CaptureFixture[str]) -> dict[str, str]:
    logging.getLogger("agent.test").warning("the queue is away")
    line: dict[str, str] = json.loads(capfd.readouterr().err)
    return line


def test_a_line_has_the_control_planes_fields_and_this_servers_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server_id = str(uuid.uuid4())
    IdentityStore(tmp_path / "identity").save(Enrolment(b"", b"", "hub.example:7444", server_id))
    start_own_log(tmp_path / "identity")
    line = told(capfd)
    assert line.pop("at").endswith("+00:00")
    expected = {"level": "warning", "logger": "agent.test", "message": "the queue is away", "server_id": server_id}
    assert line == expected


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}"])
def test_before_a_server_is_enrolled_a_line_names_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "enrolment.json").write_bytes(content)
    start_own_log(tmp_path)
    assert "server_id" not in told(capfd)
