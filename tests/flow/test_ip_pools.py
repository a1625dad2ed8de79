"""A second address of a real server: got, named, taken up, sent by, drained and given back."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from mailstack import layout
from tests.flow.spine import Spine, call, running_spine, until_key

INSTANCE = "flow-pools"
#: Seconds from the request for an address to the mail that came by it.
PROMISED = 20.0

_POINTER = """
import socket, sys
try:
    print(socket.gethostbyaddr(sys.argv[1])[0])
except socket.herror:
    print("none")
"""


@pytest.fixture(scope="module")
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, "sales@acme.example", "hello@beta.example") as running:
        yield running


async def _until_applied(spine: Spine) -> None:
    server = await call(spine.sender.client, "GET", f"/vps/{spine.sender.server['id']}")
    while server["applied_version"] < server["desired_version"]:
        await asyncio.sleep(0.1)
        server = await call(spine.sender.client, "GET", f"/vps/{spine.sender.server['id']}")


async def _until_sending_by(spine: Spine, address: str | None) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while True:
        inbox = await call(spine.sender.client, "GET", f"/inboxes/{spine.sender.inbox['id']}")
        if inbox["sending"]["address"] == address:
            await _until_applied(spine)
            sending: dict[str, str] = inbox["sending"]
            return sending
        assert time.monotonic() < deadline, inbox
        await asyncio.sleep(0.1)


async def test_mail_goes_out_by_an_address_of_the_pool_until_that_is_given_back(spine: Spine) -> None:
    client, server = spine.sender.client, spine.sender.server
    began = time.monotonic()
    made = await call(client, "POST", f"/vps/{server['id']}/addresses")
    path = f"/vps/{server['id']}/addresses/{made['id']}"
    pool = await call(
        client,
        "POST",
        f"/workspaces/{spine.sender.workspace_id}/ip-pools",
        {"name": "newsletters", "address_ids": [made["id"]]},
    )
    await call(client, "PATCH", f"/inboxes/{spine.sender.inbox['id']}", {"ip_pool_id": pool["id"]})
    address = await until_key(client, path, "state", {"ready", "failed"})
    assert address["state"] == "ready", address
    assert (await _until_sending_by(spine, address["address"]))["warning"] is None

    received, verdicts = await spine.received("by the pool")
    took = time.monotonic() - began
    # Postfix shows a client's name only when it resolves back to the client's address.
    assert f"from {address['hostname']} ({address['hostname']} [{address['address']}])" in received
    assert verdicts == {"dkim": "pass", "spf": "pass", "dmarc": "pass"}
    log = spine.inside(spine.receiver, "cat", layout.MAIL_LOG)
    assert f"connect from {address['hostname']}[{address['address']}]" in log
    assert took < PROMISED, took
    pointer = spine.inside(spine.receiver, "python3", "-c", _POINTER, address["address"])
    assert pointer == f"{address['hostname']}\n"

    spine.inside(spine.sender, "systemctl", "stop", "penguin-addresses.service")
    spine.inside(spine.sender, "systemctl", "restart", "postfix")
    assert f"{address['address']}/32" in spine.inside(spine.sender, "ip", "address", "show", "dev", "lo")

    await call(client, "DELETE", path)
    gone = await until_key(client, path, "state", {"released"}, 60)
    assert gone["state_reason"] is None
    sending = await _until_sending_by(spine, None)
    assert "no ready address" in sending["warning"]
    assert address["address"] not in spine.inside(spine.sender, "ip", "address")
    assert spine.inside(spine.receiver, "python3", "-c", _POINTER, address["address"]) == "none\n"
    received, verdicts = await spine.received("by its own")
    assert f"from {server['hostname']} ({server['hostname']} [{server['ip_address']}])" in received
    assert verdicts["spf"] == "pass"
