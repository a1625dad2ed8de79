"""A domain goes from one real server to another while mail comes for it: all arrives, once, and nothing stays."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailstack import layout
from tests.flow.spine import Party, Spine, call, running_spine, until_key

INSTANCE = "flow-move"
#: Seconds for which the old server passes mail on; two hours for others.
FORWARD_SECONDS = 2
BEFORE = 200
ADDRESS = "sales@acme.example"
#: It goes with the other, for the domain's mail goes to one server.
SECOND = "help@acme.example"

_FILL = """
import smtplib, sys
host, recipient, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with smtplib.SMTP(host, 25, "probe.example", timeout=20) as smtp:
    for number in range(count):
        head = f"Message-ID: <before-{number}@probe.example>\\r\\nSubject: before {number}\\r\\n"
        smtp.sendmail("", [recipient], f"{head}\\r\\nHello.\\r\\n")
"""
#: Sends every 50 ms, each time on a new connection, to the servers that it was told of last, in turn.
_STREAM = """
import itertools, json, select, smtplib, sys
recipients, hosts, sent, refused = sys.argv[1:3], sys.argv[3:], {}, []
for number in itertools.count():
    if select.select([sys.stdin], [], [], 0.05)[0]:
        hosts = sys.stdin.readline().split()
        if not hosts:
            break
    host, name = hosts[number % len(hosts)], f"<stream-{number}@probe.example>"
    recipient = recipients[number // 2 % 2]
    try:
        with smtplib.SMTP(host, 25, "probe.example", timeout=20) as smtp:
            smtp.sendmail("", [recipient], f"Message-ID: {name}\\r\\nSubject: stream\\r\\n\\r\\nHello.\\r\\n")
        sent.setdefault(recipient, []).append(name)
    except (OSError, smtplib.SMTPException) as error:
        refused.append(repr(error))
print(json.dumps({"sent": sent, "refused": refused}))
"""


@pytest.fixture
async def spine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Spine]:
    monkeypatch.setenv("PENGUIN_MOVE_FORWARD_SECONDS", str(FORWARD_SECONDS))
    async with running_spine(INSTANCE, ADDRESS) as running:
        yield running


async def _second_server(party: Party) -> Party:
    order = {"provider": "local", "size": "starter", "region": "local"}
    made = await call(party.client, "POST", f"/workspaces/{party.workspace_id}/vps", order)
    server = await until_key(party.client, f"/vps/{made['id']}", "status", {"ready", "failed"})
    assert server["status"] == "ready", server
    return Party(party.client, party.workspace_id, server, party.inbox)


def _mail(spine: Spine, party: Party, address: str = ADDRESS) -> dict[tuple[str, str], list[frozenset[str]]]:
    """Return the flags of each copy of each message, by folder and Message-ID."""
    fields = "mailbox flags hdr.message-id"
    lines = spine.inside(party, "doveadm", "-f", "tab", "fetch", "-u", address, fields, "ALL").splitlines()[1:]
    found: dict[tuple[str, str], list[frozenset[str]]] = {}
    for line in lines:
        folder, flags, name = line.split("\t")
        found.setdefault((folder, name), []).append(frozenset(flags.split()) - {"\\Recent"})
    return found


async def _arrived(
    spine: Spine, party: Party, names: set[str], address: str = ADDRESS, others: Sequence[Party] = ()
) -> None:
    """Wait until the mailbox has them all; if it does not get them, say what the servers know of those missing."""
    deadline = time.monotonic() + 30
    while missing := names - {name for _, name in _mail(spine, party, address)}:
        assert time.monotonic() < deadline, _what_is_known(spine, missing, (party, *others))
        await asyncio.sleep(0.1)


def _what_is_known(spine: Spine, missing: set[str], parties: Sequence[Party]) -> str:
    """Return, for each server, its queue and the log's lines about messages that are missing."""
    known = [f"{len(missing)} are missing: {' '.join(sorted(missing))}"]
    for party in parties:
        log = spine.inside(party, "cat", layout.MAIL_LOG).splitlines()
        ids = {line.split()[-2].rstrip(":") for line in log if any(f"message-id={name}" in line for name in missing)}
        known += [f"-- {party.server['hostname']}: postqueue -j", spine.inside(party, "postqueue", "-j")]
        known += ["-- its log", *(line for line in log if any(queue_id in line for queue_id in ids))]
    return "\n".join(known)


async def _second_inbox(party: Party) -> None:
    wish = {"email_address": SECOND, "vps_provider": "local", "vps_size": "starter"}
    made = await call(party.client, "POST", f"/workspaces/{party.workspace_id}/inboxes", wish)
    inbox = await until_key(party.client, f"/inboxes/{made['id']}", "status", {"ready", "failed"})
    assert (inbox["status"], inbox["vps_id"]) == ("ready", party.server["id"]), inbox


async def _step_done(party: Party, name: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the run that is working on the inbox once it has done that step."""
    async with asyncio.timeout(seconds):
        while True:
            run: dict[str, Any] = (await call(party.client, "GET", f"/inboxes/{party.inbox['id']}"))["setup"]
            assert run["state"] in {"waiting", "running", "done"}, run
            if any(step["name"] == name and step["state"] == "done" for step in run["steps"]):
                return run
            await asyncio.sleep(0.05)


async def _fill(spine: Spine, source: Party) -> dict[tuple[str, str], list[frozenset[str]]]:
    """Put messages with flags and in a folder into the mailbox; return them as `_mail` does."""
    spine.from_outside(_FILL, source.server["ip_address"], ADDRESS, str(BEFORE))
    await _arrived(spine, source, {f"<before-{number}@probe.example>" for number in range(BEFORE)})
    spine.inside(source, "doveadm", "mailbox", "create", "-s", "-u", ADDRESS, "Orders.2026")
    spine.inside(source, "doveadm", "flags", "add", "-u", ADDRESS, "\\Seen", "mailbox", "INBOX", "uid", "1:50")
    spine.inside(source, "doveadm", "flags", "add", "-u", ADDRESS, "\\Flagged $Label1", "mailbox", "INBOX", "uid", "7")
    spine.inside(source, "doveadm", "move", "-u", ADDRESS, "Orders.2026", "mailbox", "INBOX", "uid", "41:60")
    return _mail(spine, source)


@pytest.mark.timeout(240)
async def test_a_domains_inboxes_move_with_their_mail_and_lose_nothing_that_comes_meanwhile(spine: Spine) -> None:
    source = spine.sender
    target = await _second_server(source)
    old, new = source.server["ip_address"], target.server["ip_address"]
    before = await _fill(spine, source)
    await _second_inbox(source)

    stream = await asyncio.create_subprocess_exec(
        *spine.record.enter,
        *("python3", "-c", _STREAM, ADDRESS, SECOND, old),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert stream.stdin is not None
    try:
        started = time.monotonic()
        path = f"/inboxes/{source.inbox['id']}/move"
        asked = await call(source.client, "POST", path, {"vps_id": target.server["id"]})
        assert asked["kind"] == "inbox.move"
        again = await source.client.post(path, json={"vps_id": target.server["id"]})
        assert again.status_code == 409, again.text

        # Who sends from the new server finds the domain there, before it has the mailboxes; then others look it up.
        await _step_done(source, "apply_target")
        stream.stdin.write(f"{old} {new}\n".encode())
        # A message that its owner deletes where it is now does not come back.
        await _step_done(source, "hand_over")
        ninth = ("-u", ADDRESS, "mailbox", "INBOX", "uid", "9")
        fetched = spine.inside(target, "doveadm", "-f", "tab", "fetch", *ninth[:2], "hdr.message-id", *ninth[2:])
        deleted = ("INBOX", fetched.splitlines()[1])
        spine.inside(target, "doveadm", "expunge", *ninth)
        await _step_done(source, "dns.await_mx")
        stream.stdin.write(f"{new}\n".encode())
        run = await _step_done(source, "withdraw_dns")
        seconds = time.monotonic() - started
        output, _ = await stream.communicate(b"\n")
    finally:
        if stream.returncode is None:
            stream.kill()
            await stream.wait()
    told = json.loads(output)
    assert told["refused"] == []
    assert min(len(told["sent"][address]) for address in (ADDRESS, SECOND)) > 25
    for party in (source, target):
        spine.inside(party, "postqueue", "-f")
    for address, names in told["sent"].items():
        await _arrived(spine, target, set(names), address, [source])

    after = _mail(spine, target)
    copies = Counter({name: len(each) for name, each in after.items()})
    assert copies == Counter([*(before.keys() - {deleted}), *(("INBOX", name) for name in told["sent"][ADDRESS])])
    assert {name: len(each) for name, each in _mail(spine, target, SECOND).items()} == {
        ("INBOX", name): 1 for name in told["sent"][SECOND]
    }
    assert {name: after[name] for name in before if name != deleted} == {
        name: flags for name, flags in before.items() if name != deleted
    }
    folders = spine.inside(target, "doveadm", "mailbox", "list", "-s", "-u", ADDRESS).split()
    assert "Orders.2026" in folders

    assert run["kind"] == "inbox.leave_server"
    await _nothing_stays(spine, source, target)
    print(f"moved in {seconds:.1f} s, {sum(map(len, told['sent'].values()))} messages came meanwhile")


async def _nothing_stays(spine: Spine, source: Party, target: Party) -> None:
    """The inbox is at the target alone: in what the API says, on both servers, and in DNS."""
    inbox = await call(source.client, "GET", f"/inboxes/{source.inbox['id']}")
    assert (inbox["vps_id"], inbox["imap_config"]["host"]) == (target.server["id"], target.server["hostname"])
    for party in (source, target):
        await _until_applied(party)
    assert spine.inside(source, "find", f"{layout.MAIL_ROOT}/acme.example", "-type", "f") == ""
    assert "acme.example" not in spine.inside(source, "cat", "/etc/dovecot/users", "/etc/postfix/maps/mailboxes")
    assert "penguin-move" not in spine.inside(source, "cat", "/etc/dovecot/users")
    assert spine.inside(target, "sh", "-c", "ls /etc/dovecot/copies || true").strip() == ""
    records = await call(source.client, "GET", f"/inboxes/{source.inbox['id']}/dns-records")
    values = re.sub(r"\s+", " ", json.dumps(records))
    assert target.server["ip_address"] in values
    assert source.server["ip_address"] not in values


async def _until_applied(party: Party) -> None:
    async with asyncio.timeout(60):
        while True:
            server = await call(party.client, "GET", f"/vps/{party.server['id']}")
            if server["applied_version"] == server["desired_version"]:
                return
            await asyncio.sleep(0.1)
