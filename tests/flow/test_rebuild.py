"""A real server is rebuilt with its mail: every message, flag, date and UID is there after, and sends go on."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from mailstack import layout
from tests.flow.spine import Spine, call, running_spine, until_key

INSTANCE = "flow-rebuild"
ADDRESS = "sales@acme.example"
BEFORE = 300
#: Seconds from the request until the server is in use again.
PROMISED = 60.0

_FILL = """
import smtplib, sys
host, recipient, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with smtplib.SMTP(host, 25, "probe.example", timeout=20) as smtp:
    for number in range(count):
        head = f"Message-ID: <before-{number}@probe.example>\\r\\nSubject: before {number}\\r\\n"
        smtp.sendmail("", [recipient], f"{head}\\r\\n{'Hello. ' * 2000}\\r\\n")
"""
#: Sends one message as a mail server does, trying again for as long as it is not taken; says how often it tried.
_PATIENT = """
import smtplib, sys, time
host, recipient, name = sys.argv[1:]
for attempt in range(1, 600):
    try:
        with smtplib.SMTP(host, 25, "probe.example", timeout=5) as smtp:
            head = f"Message-ID: <{name}@probe.example>\\r\\nSubject: late\\r\\n"
            smtp.sendmail("", [recipient], f"{head}\\r\\nHi.\\r\\n")
        break
    except smtplib.SMTPResponseException as error:
        assert error.smtp_code < 500, error
    except (OSError, smtplib.SMTPServerDisconnected):
        pass
    except smtplib.SMTPRecipientsRefused as error:
        assert all(code < 500 for code, _ in error.recipients.values()), error
    time.sleep(0.2)
print(attempt)
"""
_ROTATE = """
from agent.configuration.deeds import perform
from mailstack.apply.host import LinuxHost
from protos.agent.v1.commands_pb2 import Command, CommandResult, RotateMailLog
result = perform(Command(rotate_mail_log=RotateMailLog()), LinuxHost())
assert result.outcome == CommandResult.OUTCOME_DONE, result
"""
_MAKE_FLAGS = """
set -e
doveadm mailbox create -s -u $1 Orders.2026
doveadm flags add -u $1 '\\Seen' mailbox INBOX uid 1:50
doveadm flags add -u $1 '\\Flagged $Label1' mailbox INBOX uid 7
doveadm move -u $1 Orders.2026 mailbox INBOX uid 41:60
doveadm expunge -u $1 mailbox INBOX uid 30
"""


@pytest.fixture
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, ADDRESS, "hello@beta.example") as running:
        yield running


def _mail(spine: Spine) -> list[str]:
    """Return of each message its folder with UIDVALIDITY, its UID, flags, dates, size and content's hash."""
    fields = "mailbox uid flags date.received size.physical hdr.message-id"
    lines = spine.inside(spine.sender, "doveadm", "-f", "tab", "fetch", "-u", ADDRESS, fields, "ALL").splitlines()[1:]
    folders = spine.inside(spine.sender, "doveadm", "mailbox", "status", "-u", ADDRESS, "uidvalidity", "*").splitlines()
    return sorted(line.replace("\\Recent", "").replace("  ", " ") for line in lines) + sorted(folders)


def _files(spine: Spine) -> set[str]:
    """Return the SHA-256 and name of each message file of the inbox."""
    root = f"{layout.MAIL_ROOT}/acme.example"
    script = "find \"$1\" -type f -path '*/cur/*' -o -type f -path '*/new/*' | xargs sha256sum | sort"
    return set(spine.inside(spine.sender, "sh", "-c", script, "sh", root).splitlines())


# Two servers are made first, and one of them once more.
@pytest.mark.timeout(240)
async def test_a_rebuilt_server_has_all_its_mail_and_sends(spine: Spine) -> None:
    client, server = spine.sender.client, spine.sender.server
    spine.from_outside(_FILL, server["ip_address"], ADDRESS, str(BEFORE))
    await _arrived(spine, BEFORE)
    spine.inside(spine.sender, "sh", "-c", _MAKE_FLAGS, "sh", ADDRESS)
    before, files = _mail(spine), _files(spine)
    assert len(files) == BEFORE - 1
    machine = spine.inside(spine.sender, "cat", "/etc/machine-id")

    began = time.monotonic()
    run = await call(client, "POST", f"/vps/{server['id']}/rebuild")
    assert run["kind"] == "vps.rebuild"
    assert (await client.post(f"/vps/{server['id']}/undrain")).status_code == 409
    # What is asked for meanwhile waits; what comes from outside is tried again.
    waiting = await spine.send(spine.receiver.inbox["email_address"], "asked for meanwhile")
    await _step_done(spine, "pack_mail")
    late = asyncio.create_task(asyncio.to_thread(spine.from_outside, _PATIENT, server["ip_address"], ADDRESS, "late"))
    await _step_done(spine, "use_again")
    took = time.monotonic() - began

    assert int(await late) > 1
    assert spine.inside(spine.sender, "cat", "/etc/machine-id") != machine
    assert (await spine.final(waiting))["state"] == "delivered"
    await _arrived(spine, BEFORE)
    after = _mail(spine)
    assert [line for line in after if "<late@" not in line] == before
    assert files <= _files(spine)
    again = await spine.send(spine.receiver.inbox["email_address"], "sent after it")
    assert (await spine.final(again))["state"] == "delivered"
    await _log_is_rotated(spine)
    shown = await until_key(client, f"/vps/{server['id']}", "mail_server_status", {"running"})
    assert (shown["status"], shown["draining_since"], shown["ip_address"]) == ("ready", None, server["ip_address"])
    assert took < PROMISED, took
    print(f"rebuilt in {took:.1f} s")


async def _log_is_rotated(spine: Spine) -> None:
    """Outcomes are read from the new log as from the old; the agent may read both."""
    python = "/opt/penguin-agent/current/bin/python"
    old = spine.inside(spine.sender, "stat", "-c", "%i %U:%G %a", layout.MAIL_LOG).split()
    spine.inside(spine.sender, python, "-c", _ROTATE)
    sent = await spine.send(spine.receiver.inbox["email_address"], "after the rotation")
    assert (await spine.final(sent))["state"] == "delivered"
    new = spine.inside(spine.sender, "stat", "-c", "%i %U:%G %a", layout.MAIL_LOG).split()
    assert (new[0] != old[0], new[1:]) == (True, old[1:])
    assert spine.inside(spine.sender, "stat", "-c", "%i", f"{layout.MAIL_LOG}.1").strip() == old[0]
    assert "status=sent" in spine.inside(spine.sender, "cat", layout.MAIL_LOG)


async def _arrived(spine: Spine, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            if len(_files(spine)) >= count:
                return
            await asyncio.sleep(0.2)


async def _step_done(spine: Spine, name: str, seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while True:
            run = (await call(spine.sender.client, "GET", f"/vps/{spine.sender.server['id']}"))["operation"]
            assert run["state"] in {"waiting", "running", "done"}, run
            if any(step["name"] == name and step["state"] == "done" for step in run["steps"]):
                return
            await asyncio.sleep(0.1)
