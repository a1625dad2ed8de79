"""What a real server shows for a domain over HTTPS: its MTA-STS policy, and settings for mail programs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from procrastinate import App, PsycopgConnector

from control_plane.providers.local.network import AUTHORITY
from control_plane.provisioning.periodic import POLICIES_QUEUE
from mailstack.nginx.client_settings import thunderbird_settings
from tests.flow.certificates import (
    CERTBOT_ACCOUNTS,
    CERTBOT_LOG,
    ORDER,
    place_order,
    read_json,
    renewed_on_demand,
    shown_serials,
    until_no_record_is_asked_for,
)
from tests.flow.local_cloud import until
from tests.flow.spine import Party, Spine, call, running_spine, until_key

_INSTANCE = "flow-mta-sts"
_CLIENT_NAMES = ["autoconfig.acme.example", "autodiscover.acme.example"]

#: Trusts the authority's root of today and nothing else; prints what others get, who may send something.
_FETCH = """
import socket, ssl, sys, urllib.request
address, name, authority, path, sent = sys.argv[1:]
nobody = ssl._create_unverified_context()
root = urllib.request.urlopen(f"https://{authority}:15000/roots/0", context=nobody).read().decode()
real = socket.getaddrinfo
socket.getaddrinfo = lambda host, *more, **named: real(address if host == name else host, *more, **named)
trusting = ssl.create_default_context(cadata=root)
url = f"https://{name}{path}"
with urllib.request.urlopen(url, sent.encode() or None, context=trusting, timeout=10) as answer:
    print(answer.headers["content-type"], answer.read().decode(), sep="\\n", end="")
"""


@pytest.fixture(scope="module")
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(_INSTANCE, "sales@acme.example") as running:
        yield running


@pytest.mark.timeout(240)
async def test_a_policy_is_shown_seen_enforced_and_gone(spine: Spine) -> None:
    party = spine.sender
    path = f"/domains/{(await call(party.client, 'GET', '/domains'))['items'][0]['id']}"
    assert _web_server(spine, party) == ["inactive", "disabled"]
    await call(party.client, "PATCH", path, {"mta_sts": "testing"})
    await _until_verified(party, {"_mta-sts", "mta-sts"})
    await until(lambda: read_json(spine, party, ORDER)["further_names"] == ["mta-sts.acme.example"])
    await _until_looked_at(spine, path)

    shown = _fetch(spine, party)
    assert shown == f"text/plain\nversion: STSv1\nmode: testing\nmx: {party.server['hostname']}\nmax_age: 86400\n"
    assert _web_server(spine, party) == ["active", "enabled"]
    # The same certificate at every door of mail; port 80 is shut again.
    assert len(shown_serials(spine, party)) == 1
    assert "0.0.0.0:80" not in spine.inside(party, "ss", "-Hltn")

    await call(party.client, "PATCH", path, {"mta_sts": "enforce"})
    await until(lambda: "mode: enforce\n" in _fetch(spine, party))
    await _until_verified(party, {"_mta-sts", "mta-sts"})
    await _until_looked_at(spine, path)

    await call(party.client, "PATCH", path, {"mta_sts": "none"})
    await until(lambda: _web_server(spine, party) == ["inactive", "disabled"])
    assert ":443 " not in spine.inside(party, "ss", "-Hltn")
    await until_key(party.client, f"/inboxes/{party.inbox['id']}", "status", {"ready"})


async def test_mail_programs_find_their_settings_with_a_certificate_over_http_and_over_dns(spine: Spine) -> None:
    party = spine.sender
    path = f"/domains/{(await call(party.client, 'GET', '/domains'))['items'][0]['id']}"
    before = shown_serials(spine, party)
    await call(party.client, "PATCH", path, {"client_settings": True})
    await _until_verified(party, {"autoconfig", "autodiscover", "_autodiscover._tcp"})
    await until(lambda: read_json(spine, party, ORDER)["further_names"] == _CLIENT_NAMES)
    await until(lambda: shown_serials(spine, party).isdisjoint(before))
    _see_settings(spine, party)
    await _until(lambda: _tells_of_https(party))

    over_http, order = shown_serials(spine, party), read_json(spine, party, ORDER)
    # To an account that has shown a name to be its own, the authority may issue without another look.
    spine.inside(party, "rm", "-r", CERTBOT_ACCOUNTS)
    place_order(spine, party, {**order, "by_dns": True})
    await renewed_on_demand(spine, party)
    place_order(spine, party, order)

    log = spine.inside(party, "cat", CERTBOT_LOG)
    assert all(f"dns-01 challenge for {name}" in log for name in (party.server["hostname"], *_CLIENT_NAMES))
    assert shown_serials(spine, party).isdisjoint(over_http)
    _see_settings(spine, party)
    await until_no_record_is_asked_for(spine, party)


async def _tells_of_https(party: Party) -> bool:
    """Say whether the server's report tells until when the certificate is good that HTTPS shows."""
    report = (await call(party.client, "GET", f"/vps/{party.server['id']}"))["last_report"]["health"]
    return any(shown["port"] == 443 and "not_after_ms" in shown for shown in report["certificates"])


def _see_settings(spine: Spine, party: Party) -> None:
    """Ask as Thunderbird does, and as Outlook."""
    autoconfig, autodiscover = _CLIENT_NAMES
    hostname, address = party.server["hostname"], party.inbox["email_address"]
    settings = _ask(spine, party, autoconfig, f"/mail/config-v1.1.xml?emailaddress={address}")
    assert settings == f"text/xml\n{thunderbird_settings('acme.example', hostname)}"
    question = f"<Autodiscover><Request><EMailAddress>{address}</EMailAddress></Request></Autodiscover>"
    answer = _ask(spine, party, autodiscover, "/autodiscover/autodiscover.xml", question)
    assert answer.count(f"<Server>{hostname}</Server>") == answer.count(f"<LoginName>{address}</LoginName>") == 2


def _fetch(spine: Spine, party: Party) -> str:
    return _ask(spine, party, "mta-sts.acme.example", "/.well-known/mta-sts.txt")


def _ask(spine: Spine, party: Party, name: str, path: str, sent: str = "") -> str:
    return spine.from_outside(_FETCH, party.server["ip_address"], name, str(AUTHORITY), path, sent)


def _web_server(spine: Spine, party: Party) -> list[str]:
    ask = "systemctl is-active nginx; systemctl is-enabled nginx; true"
    return spine.inside(party, "sh", "-c", ask).split()


async def _until_verified(party: Party, names: set[str]) -> None:
    path = f"/inboxes/{party.inbox['id']}/dns-records"

    async def verified() -> bool:
        await call(party.client, "POST", f"{path}/verify")
        records = (await call(party.client, "GET", path))["records"]
        return names <= {record["name"] for record in records if record["status"] == "verified"}

    await _until(verified)


async def _until_looked_at(spine: Spine, path: str) -> None:
    """Have the worker look, as it does every five minutes, until it saw the policy as it is now."""
    app = App(connector=PsycopgConnector(conninfo=spine.record.system_database_url))

    async def seen() -> bool:
        await app.configure_task("dns.look_at_policies", queue=POLICIES_QUEUE).defer_async(timestamp=0)
        return bool((await call(spine.sender.client, "GET", path))["mta_sts_seen"])

    async with app.open_async():
        await _until(seen)


async def _until(what: Callable[[], Awaitable[bool]], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.2)
