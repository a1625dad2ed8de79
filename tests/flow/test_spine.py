"""The spine, step by step, on real servers: each step builds on those before it."""

import asyncio
import datetime as dt
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.providers.local.network import AUTHORITY
from tests.fakes.acme import RETRY_AFTER
from tests.flow.certificates import (
    CERTBOT_ACCOUNTS,
    CERTBOT_LOG,
    ORDER,
    PROGRAM,
    authority_on_a_bad_day,
    mailbox_count,
    place_order,
    read_json,
    renewed_on_demand,
    shown_serials,
    steady_mail,
    until_all_arrived,
    until_no_record_is_asked_for,
    until_state,
)
from tests.flow.local_cloud import until
from tests.flow.spine import Spine, call, running_spine, until_key
from tests.flow.steady_sends import steady_sends, until_retired

INSTANCE = "flow-test"
_RELOADS = 40

_RELAY = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, timeout=10) as smtp:
    smtp.ehlo("probe.example")
    smtp.mail("someone@elsewhere.example")
    print(smtp.rcpt(sys.argv[2])[0], smtp.has_extn("auth"))
"""
_PLAIN_LOGIN = """
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 587, timeout=10) as smtp:
    smtp.ehlo("probe.example")
    print(smtp.has_extn("auth"), smtp.docmd("MAIL", "FROM:<someone@elsewhere.example>")[0])
"""


@pytest.fixture(scope="module")
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, "sales@acme.example", "hello@beta.example") as running:
        yield running


async def test_01_a_ready_server_tells_of_each_step_and_of_its_health(spine: Spine) -> None:
    path = f"/vps/{spine.sender.server['id']}"
    server = await call(spine.sender.client, "GET", path)
    steps = {step["name"]: step["state"] for step in server["provisioning"]["steps"]}
    assert set(steps.values()) == {"done"}
    assert {"create_server", "await_agent", "apply_configuration", "verify_mail_flow", "ready"} <= set(steps)
    assert server["reachable"] is True
    assert server["mail_server_status"] == "running"


async def test_01_a_server_was_found_fit_before_it_was_ready(spine: Spine) -> None:
    server = spine.sender.server
    report = await call(spine.sender.client, "GET", f"/vps/{server['id']}/preflight")
    verdicts = {check["kind"]: check["verdict"] for check in report["checks"]}
    assert (verdicts["port_25"], verdicts["reverse_dns"]) == ("passed", "passed")
    assert "failed" not in verdicts.values()
    assert report["address"] == server["ip_address"]


async def test_02_an_inbox_is_ready_with_all_its_records_verified(spine: Spine) -> None:
    records = (await call(spine.sender.client, "GET", f"/inboxes/{spine.sender.inbox['id']}/dns-records"))["records"]
    # Where the machine has IPv6.
    ipv6 = {"AAAA"} if spine.sender.server["ipv6_address"] else set()
    assert {record["type"] for record in records} == {"A", "MX", "TXT", "PTR"} | ipv6
    assert {record["status"] for record in records} == {"verified"}
    verified = await call(spine.sender.client, "POST", f"/inboxes/{spine.sender.inbox['id']}/dns-records/verify")
    assert verified["all_verified"] is True


async def test_03_a_message_arrives_authenticated_and_its_timeline_is_whole(spine: Spine) -> None:
    async with spine.watch_receiver() as watch:
        message_id = await spine.send(spine.receiver.inbox["email_address"], "step 3", html="<p>Hello.</p>")
        arrival = await watch.arrival("step 3", 30)
    assert arrival.verdicts() == {"dkim": "pass", "spf": "pass", "dmarc": "pass"}
    assert arrival.dkim_verified
    message = await spine.final(message_id)
    assert message["state"] == "delivered"
    assert [moment["kind"] for moment in message["timeline"]] == ["accepted", "queued", "relayed", "delivered"]
    assert message["timeline"][2]["detail"]["queue_id"] == message["queue_id"]
    assert message["timeline"][3]["detail"]["enhanced_status"] == "2.0.0"


async def test_04_an_unknown_recipient_bounces_with_the_remote_reply(spine: Spine) -> None:
    message = await spine.final(await spine.send("nobody@beta.example", "step 4"))
    assert message["state"] == "bounced"
    reply = message["timeline"][-1]["detail"]
    assert reply["enhanced_status"] == "5.1.1"
    assert "550" in reply["text"]


async def test_05_strangers_cannot_relay_nor_log_in_without_tls(spine: Spine) -> None:
    host = spine.receiver.server["ip_address"]
    assert spine.from_outside(_RELAY, host, "victim@elsewhere.example").split() == ["554", "False"]
    assert spine.from_outside(_RELAY, host, "nobody@beta.example").split()[0] == "550"
    assert spine.from_outside(_PLAIN_LOGIN, host).split() == ["False", "530"]


async def test_06_high_overtakes_and_low_is_not_starved(spine: Spine) -> None:
    spine.inside(spine.sender, "systemctl", "stop", "penguin-agent")
    to = spine.receiver.inbox["email_address"]
    orders = [("low", 20), ("normal", 60), ("high", 20)]
    sent = {
        name: [await spine.send(to, f"step 6 {name} {number}", priority=name) for number in range(count)]
        for name, count in orders
    }
    spine.inside(spine.sender, "systemctl", "start", "penguin-agent")
    relayed = {name: [(await spine.final(each))["relayed_at"] for each in ids] for name, ids in sent.items()}
    # What was in hand already goes first; half of what is urgent is gone before half of the rest all the same.
    assert sorted(relayed["high"])[10] < sorted(relayed["normal"])[30]
    assert min(relayed["low"]) <= max(relayed["normal"])


async def test_07_mail_flows_while_the_hub_stands_still_and_is_told_afterwards(spine: Spine) -> None:
    hub = spine.process("hub")
    hub.send_signal(signal.SIGSTOP)
    try:
        async with spine.watch_receiver() as watch:
            message_id = await spine.send(spine.receiver.inbox["email_address"], "step 7")
            await watch.arrival("step 7", 30)
        message = await call(spine.sender.client, "GET", f"/messages/{message_id}")
        assert message["state"] == "queued"
    finally:
        hub.send_signal(signal.SIGCONT)
    assert (await spine.final(message_id))["state"] == "delivered"


async def test_08_processes_that_are_killed_come_back_and_lose_nothing(spine: Spine) -> None:
    killed = [spine.process(name) for name in ("hub", "queuer", "worker")]
    for process in killed:
        process.kill()
    message_ids = [await spine.send(spine.receiver.inbox["email_address"], f"step 8 {number}") for number in range(5)]
    finals = [await spine.final(each, 60) for each in message_ids]
    assert {message["state"] for message in finals} == {"delivered"}


async def test_09_a_server_that_reboots_keeps_its_identity_and_its_mail(spine: Spine) -> None:
    spine.inside(spine.sender, "touch", "/run/before-the-reboot")
    key = spine.inside(spine.sender, "sha256sum", "/var/lib/penguin-agent/identity/key.pem")
    spine.inside(spine.sender, "systemctl", "--no-block", "reboot")
    message_id = await spine.send(spine.receiver.inbox["email_address"], "step 9")
    assert (await spine.final(message_id, 60))["state"] == "delivered"
    assert spine.inside(spine.sender, "sha256sum", "/var/lib/penguin-agent/identity/key.pem") == key
    assert "before-the-reboot" not in spine.inside(spine.sender, "ls", "/run")


async def test_10_the_agent_is_small_and_its_root_half_sleeps(spine: Spine) -> None:
    pid = spine.inside(spine.sender, "systemctl", "show", "--value", "-p", "MainPID", "penguin-agent").strip()
    status = spine.inside(spine.sender, "cat", f"/proc/{pid}/status")
    resident_kib = int(status.split("VmRSS:")[1].split()[0])
    assert resident_kib <= 60 * 1024
    assert "Uid:\t0" not in status


async def test_11_a_ready_server_shows_an_authoritys_certificate_at_every_door(spine: Spine) -> None:
    for party in (spine.sender, spine.receiver):
        server = await until_state(spine, party, "issued")
        assert len(shown_serials(spine, party)) == 1
        assert server["certificate"]["failures"] == 0
        assert dt.datetime.fromisoformat(server["ssl_certificate_expires"]) > dt.datetime.now(dt.UTC)


async def test_12_a_renewal_loses_no_mail_and_no_connection(spine: Spine) -> None:
    before = shown_serials(spine, spine.receiver)
    async with steady_mail(spine, spine.receiver) as stream:
        spine.inside(spine.receiver, PROGRAM, "--now")
        await renewed_on_demand(spine, spine.receiver)
    after = shown_serials(spine, spine.receiver)
    assert len(after) == 1
    assert after.isdisjoint(before)
    assert stream["failures"] == []
    assert stream["accepted"] > 10

    # What Postfix could not hand to Dovecot while that reloaded waits in its queue, and is not lost.
    def arrived() -> int:
        spine.inside(spine.receiver, "postqueue", "-f")
        return mailbox_count(spine, spine.receiver)

    await until_all_arrived(spine, spine.receiver, arrived, stream["accepted"])
    assert "0.0.0.0:80" not in spine.inside(spine.receiver, "ss", "-Hltn")


async def test_12_a_reload_delivers_nothing_twice(spine: Spine) -> None:
    before = mailbox_count(spine, spine.receiver)
    async with steady_mail(spine, spine.receiver) as stream:
        for _ in range(_RELOADS):
            await asyncio.to_thread(spine.inside, spine.receiver, "doveadm", "reload")

    def arrived() -> int:
        spine.inside(spine.receiver, "postqueue", "-f")
        return mailbox_count(spine, spine.receiver) - before

    await until_all_arrived(spine, spine.receiver, arrived, stream["accepted"])


async def test_12_over_dns_an_authority_looks_for_a_record_that_comes_and_goes(spine: Spine) -> None:
    party, order = spine.receiver, read_json(spine, spine.receiver, ORDER)
    before = shown_serials(spine, party)
    # To an account that has shown a name to be its own, the authority may issue without another look.
    spine.inside(party, "rm", "-r", CERTBOT_ACCOUNTS)
    place_order(spine, party, {**order, "by_dns": True})
    await renewed_on_demand(spine, party)
    place_order(spine, party, order)

    assert shown_serials(spine, party).isdisjoint(before)
    assert f"dns-01 challenge for {party.server['hostname']}" in spine.inside(party, "cat", CERTBOT_LOG)
    await until_no_record_is_asked_for(spine, party)


async def test_13_a_failing_authority_takes_nothing_away_and_is_asked_again(spine: Spine, tmp_path: Path) -> None:
    party, order = spine.sender, read_json(spine, spine.sender, ORDER)
    before = shown_serials(spine, party)
    spine.inside(party, "ip", "route", "add", "unreachable", str(AUTHORITY))
    spine.inside(party, PROGRAM, "--now")
    down = await until_state(spine, party, "unreachable")
    assert "does not answer; next attempt" in down["certificate"]["detail"]
    spine.inside(party, "ip", "route", "del", "unreachable", str(AUTHORITY))
    with authority_on_a_bad_day(spine, tmp_path) as bad:
        place_order(spine, party, {**order, **bad, "directory_url": f"{bad['directory_url']}/limited"})
        limited = (await until_state(spine, party, "limited"))["certificate"]
        asked, again = (dt.datetime.fromisoformat(limited[at]) for at in ("last_attempt_at", "next_attempt_at"))
        assert dt.timedelta(seconds=RETRY_AFTER) <= again - asked < dt.timedelta(seconds=RETRY_AFTER + 60)
        place_order(spine, party, {**order, **bad, "directory_url": f"{bad['directory_url']}/nonce"})
        muddled = await until_state(spine, party, "unreachable")
        assert "is out of order" in muddled["certificate"]["detail"]
    assert shown_serials(spine, party) == before
    place_order(spine, party, order)
    await until_state(spine, party, "issued")
    assert shown_serials(spine, party).isdisjoint(before)


async def test_14_a_change_of_dkim_keys_leaves_no_message_unsigned_or_lost(spine: Spine) -> None:
    client, inbox = spine.sender.client, spine.sender.inbox
    domain_id = (await call(client, "GET", "/domains"))["items"][0]["id"]
    async with spine.watch_receiver() as watch:
        async with steady_sends(spine) as stream:
            await stream.further(10)
            await call(client, "POST", f"/domains/{domain_id}/dkim:rotate")
            old = await until_retired(spine.sender, domain_id, "pm1")
            await stream.further(10)
        arrivals = [await watch.next_arrival(30) for _ in stream.messages]
    assert {arrival.subject for arrival in arrivals} == stream.messages.keys()
    assert [arrival for arrival in arrivals if not arrival.dkim_verified] == []
    assert {arrival.dkim_selector for arrival in arrivals} == {"pm1", "pm2"}
    # Mail that the old key signed may be on its way for days: it verifies still.
    assert old["state"] == "retiring"
    verified = await call(client, "POST", f"/inboxes/{inbox['id']}/dns-records/verify")
    keys = {record["name"] for record in verified["records"] if record["status"] == "verified"}
    assert {"pm1._domainkey", "pm2._domainkey"} <= keys


async def test_15_a_deleted_inbox_and_server_leave_nothing(spine: Spine) -> None:
    client, inbox, server = spine.receiver.client, spine.receiver.inbox, spine.receiver.server
    await call(client, "DELETE", f"/inboxes/{inbox['id']}")
    # The server forgets it with its next configuration, a moment after the answer.
    await until(lambda: refuses(spine, server["ip_address"], inbox["email_address"]))
    assert (await client.get(f"/inboxes/{inbox['id']}")).status_code == 404
    assert (await spine.final(await spine.send(inbox["email_address"], "step 15")))["state"] == "bounced"
    await call(client, "DELETE", f"/vps/{server['id']}")
    await until_key(client, f"/vps/{server['id']}", "status", {"deleted"}, 60)


def refuses(spine: Spine, host: str, recipient: str) -> bool:
    """Whether a server takes no mail for an address, as a stranger sees it."""
    return spine.from_outside(_RELAY, host, recipient).startswith(("550", "554"))
