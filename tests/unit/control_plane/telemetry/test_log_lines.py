import asyncio
import json
import logging
import uuid
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from control_plane.rest.request_id import REQUEST_ID, NamesRequests
from control_plane.telemetry.log_lines import JsonLines, TextLines, about

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
