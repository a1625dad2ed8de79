import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from control_plane.rest.request_id import REQUEST_ID, NamesRequests
from log_lines import lines
from log_lines.lines import JournalLines, JsonLines, TextLines, about, be_server, clean

_LOCAL = st.text(alphabet="abcXYZ019.!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
_HOSTS = st.sampled_from(["example.net", "mx.example.org", "xn--bcher-kva.example", "a.b.c.example"])


class Kept(logging.Handler):
    """Lines as they would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture(autouse=True)
def _on_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_HERE", {})


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    logger = logging.getLogger("penguin.test")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)


def refuse(words: str) -> None:
    raise ValueError(words)


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("penguin.test", logging.WARNING, "here.py", 1, message, arguments, None)


@given(_LOCAL, _HOSTS, st.text(max_size=20))
def test_no_address_of_a_person_is_in_a_line(local: str, host: str, words: str) -> None:
    address = f"{local}@{host}"
    for form in (JsonLines(), TextLines()):
        line = form.format(record("refused <%s> for %s", address, words))
        assert f"@{host}" not in line
        assert "[address]" in line


def test_addresses_side_by_side_are_all_taken_out() -> None:
    assert "example" not in clean("<a@one.example,b@two.example> c@three.example!d@four.example=e@five.example")


def test_a_line_takes_time_by_its_length_alone_however_long_its_words_are() -> None:
    """Whoever asks us for something decides what is in the line that says so."""
    began = time.thread_time()
    clean(f"GET /{'a' * 60_000} from somebody@example.net")
    # Milliseconds; by the square of its length it is ten seconds.
    assert time.thread_time() - began < 2


@pytest.mark.parametrize(
    "secret",
    [
        "postgresql://penguin:fish-and-chips@db.example/penguin",
        "rediss://u:fish-and-chips@10.0.0.1:7379",
        "pmk_fish-and-chips_herring",
        "pmo_fish-and-chips_herring",
        "Authorization: Bearer fish-and-chips.a.b",
        "whsec_fish-and-chips+herring=",
    ],
)
def test_what_opens_a_door_is_in_no_line(secret: str) -> None:
    assert "fish" not in JsonLines().format(record("it was %s", secret))


def test_what_an_exception_quotes_is_taken_out_too() -> None:
    try:
        refuse("Key (recipient)=(anna@example.net) already exists")
    except ValueError as error:
        told = record("failed")
        told.exc_info = (type(error), error, error.__traceback__)
    line = json.loads(JsonLines().format(told))
    assert "anna" not in line["exception"]
    assert "Key (recipient)=([address]) already exists" in line["exception"]


async def test_lines_name_what_they_are_about_also_in_tasks_begun_meanwhile(kept: Kept) -> None:
    log = logging.getLogger("penguin.test")
    send_id, server_id = uuid.uuid4(), uuid.uuid4()

    async def work() -> None:
        await asyncio.sleep(0)
        log.info("in a task")

    with about(server_id=server_id):
        task = asyncio.create_task(work())
        with about(send_id=send_id):
            log.info("both")
    log.info("neither")
    await task
    known = {line["message"]: (line.get("send_id"), line.get("server_id")) for line in kept.lines}
    assert known == {
        "both": (str(send_id), str(server_id)),
        "neither": (None, None),
        "in a task": (None, str(server_id)),
    }


async def test_lines_name_the_request_that_the_answer_names(kept: Kept) -> None:
    async def answer(_: Request) -> PlainTextResponse:
        logging.getLogger("penguin.test").info("asked")
        return PlainTextResponse("")

    app = NamesRequests(Starlette(routes=[Route("/", answer)]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://penguin.test") as client:
        named = (await client.get("/")).headers[REQUEST_ID]
    assert [line["request_id"] for line in kept.lines] == [named]


def test_a_program_of_a_server_names_it_in_each_line_and_another_where_that_is_meant(kept: Kept) -> None:
    own, other = uuid.uuid4(), uuid.uuid4()
    log = logging.getLogger("penguin.test")
    be_server(str(own))
    log.info("here")
    with about(server_id=other):
        log.info("there")
    assert [line["server_id"] for line in kept.lines] == [str(own), str(other)]


@pytest.mark.parametrize(("level", "priority"), [(logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)])
def test_the_journal_is_told_how_grave_a_line_is_and_keeps_an_object(level: int, priority: int) -> None:
    told = record("the disk is full")
    told.levelno = level
    begin, _, line = JournalLines(JsonLines()).format(told).partition(">")
    assert begin == f"<{priority}"
    assert json.loads(line)["message"] == "the disk is full"


@pytest.mark.parametrize(("is_journal", "begins"), [(True, "<4>{"), (False, "{")])
def test_only_what_goes_to_the_journal_begins_with_a_priority(tmp_path: Path, *, is_journal: bool, begins: str) -> None:
    program = "import logging; from log_lines.lines import start_logging; start_logging('json'); logging.warning('!')"
    with (tmp_path / "log").open("w+") as log:
        status = os.fstat(log.fileno())
        stream = f"{status.st_dev}:{status.st_ino}" if is_journal else "0:0"
        environment = {**os.environ, "JOURNAL_STREAM": stream}
        subprocess.run([sys.executable, "-c", program], stderr=log, env=environment, check=True)
        log.seek(0)
        assert log.read().startswith(begins)
