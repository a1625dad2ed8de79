"""One attempt on real sockets: what a tenant's URL can make us do, and what not."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from control_plane.webhooks.attempt import Poster, addresses_of
from tests.integration.webhooks.receiver import HANG, receiving, tls_for


async def loopback(_: str) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_a_name_keeps_its_host_and_its_certificate_while_the_address_is_pinned(tmp_path: Path) -> None:
    server, client = tls_for("hooks.example", tmp_path)
    poster = Poster(private_targets=True, resolve=loopback, tls=client)
    async with receiving(tls=server) as receiver, aclosing(poster):
        right = await poster.post(f"https://hooks.example:{receiver.port}/in?a=1", b"{}", {})
        wrong = await poster.post(f"https://other.example:{receiver.port}/in", b"{}", {})
    assert right.status == 200
    assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"
    assert (wrong.status, wrong.error) == (None, "ConnectError: the connection failed")
    assert len(receiver.got) == 1


async def test_a_name_that_changes_to_loopback_between_attempts_is_not_connected_to() -> None:
    answers = [["192.88.98.1"], ["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]]
    asked: list[str] = []

    async def resolve(host: str) -> Sequence[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    async def none_of_ours_but_the_first(addresses: Sequence[str]) -> bool:
        # Nothing is sent to the Internet from a test: the public address counts as a server of ours.
        return "192.88.98.1" in addresses

    async with receiving() as receiver, aclosing(Poster(resolve=resolve, is_ours=none_of_ours_but_the_first)) as poster:
        url = f"https://hooks.example:{receiver.port}/"
        said = [(await poster.post(url, b"{}", {})).error for _ in answers]
    assert (
        said
        == ["the name has the address of a mail server of ours"] + ["the name has an address that is not public"] * 4
    )
    assert asked == ["hooks.example"] * 5
    assert receiver.got == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "localhost", "0"])
async def test_loopback_by_any_spelling_is_refused(host: str) -> None:
    async with receiving() as receiver, aclosing(Poster()) as poster:
        answer = await poster.post(f"https://{host}:{receiver.port}/", b"{}", {})
    assert (answer.status, receiver.got) == (None, [])
    assert answer.error is not None


async def test_plain_http_is_refused_even_if_it_was_stored() -> None:
    async with receiving() as receiver, aclosing(Poster(resolve=loopback)) as poster:
        answer = await poster.post(f"http://hooks.example:{receiver.port}/", b"{}", {})
    assert (answer.error, receiver.got) == ("the URL is not https://", [])


async def test_redirects_are_not_followed() -> None:
    async with receiving() as behind, aclosing(Poster(private_targets=True)) as poster:
        target = f"307 Elsewhere\r\nLocation: http://127.0.0.1:{behind.port}/"
        async with receiving(lambda _: target) as receiver:
            answer = await poster.post(f"http://127.0.0.1:{receiver.port}/", b"{}", {})
    assert (answer.status, answer.delivered, behind.got) == (307, False, [])


async def test_who_does_not_answer_is_given_up_in_time() -> None:
    async with (
        receiving(lambda _: HANG) as receiver,
        aclosing(Poster(private_targets=True, timeout_seconds=0.3)) as poster,
    ):
        answer = await poster.post(f"http://127.0.0.1:{receiver.port}/", b"{}", {})
    assert (answer.status, answer.delivered) == (None, False)


async def test_who_drips_a_header_at_a_time_is_given_up_in_time() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                writer.write(b"X-More: 1\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, aclosing(Poster(private_targets=True, timeout_seconds=0.3)) as poster:
        answer = await poster.post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert (answer.status, answer.error) == (None, "no answer within 0 seconds")


async def test_the_next_address_of_a_name_is_tried_when_one_does_not_take_connections() -> None:
    async def two(_: str) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with receiving() as receiver, aclosing(Poster(private_targets=True, resolve=two)) as poster:
        answer = await poster.post(f"http://hooks.example:{receiver.port}/", b"{}", {})
    assert (answer.status, len(receiver.got)) == (200, 1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("30", 30), ("999999999999", 86400), ("soon", None), ("-1", None)),
        ("Thu, 01 Jan 1970 00:00:00 +99999999999999", None),
    ],
)
async def test_retry_after_is_read_with_care(header: str, seconds: int | None) -> None:
    busy = receiving(lambda _: f"503 Busy\r\nRetry-After: {header}")
    async with aclosing(Poster(private_targets=True)) as poster, busy as receiver:
        answer = await poster.post(f"http://127.0.0.1:{receiver.port}/", b"{}", {})
    assert (answer.retry_after and answer.retry_after.total_seconds()) == seconds


async def test_names_whose_servers_do_not_answer_keep_nobody_elses_work_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        answered.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    waiting = [asyncio.create_task(addresses_of("hooks.example")) for _ in range(64)]
    # By then each has asked.
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(str, 1) == "1"
    finally:
        answered.set()
        await asyncio.gather(*waiting)
