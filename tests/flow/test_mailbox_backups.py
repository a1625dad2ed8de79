"""A mailbox on a real server is backed up by real restic, loses mail, and gets it back: beside, and in place, once."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from control_plane.processes.places import CHECKOUT
from tests.flow.spine import Spine, call, running_spine

INSTANCE = "flow-mail-backup"
ADDRESS = "anna@acme.example"
#: On the server itself, where a disk would be mounted.
REPOSITORY = "/srv/backups"
PASSWORD = "herring-sardine-anchovy"
_FILL = """
import smtplib, sys
host, recipient, names = sys.argv[1], sys.argv[2], sys.argv[3:]
with smtplib.SMTP(host, 25, "probe.example", timeout=20) as smtp:
    for name in names:
        head = f"Message-ID: <{name}@probe.example>\\r\\nSubject: {name}\\r\\n"
        smtp.sendmail("", [recipient], f"{head}\\r\\nHello.\\r\\n")
"""


@pytest.fixture
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, ADDRESS) as running:
        yield running


def backups(*words: str) -> Any:  # noqa: ANN401 - JSON
    command = [sys.executable, "-m", "control_plane.cli.main", "backup", "mailboxes", *words]
    environment = {**os.environ, "PENGUIN_MAIL_BACKUP_PASSWORD": PASSWORD}
    done = subprocess.run(
        [*command, "--json", "--instance", INSTANCE],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def mail(spine: Spine) -> Counter[tuple[str, str]]:
    """Return how often each message is in each folder."""
    fields = "mailbox hdr.message-id"
    lines = spine.inside(spine.sender, "doveadm", "-f", "tab", "fetch", "-u", ADDRESS, fields, "ALL").splitlines()[1:]
    return Counter((folder, name.partition("@")[0].strip("<")) for folder, name in (line.split("\t") for line in lines))


async def deliver(spine: Spine, names: Sequence[str]) -> None:
    spine.from_outside(_FILL, spine.sender.server["ip_address"], ADDRESS, *names)
    async with asyncio.timeout(60):
        while not {name for _, name in mail(spine)} >= set(names):  # noqa: ASYNC110 - another machine has no event
            await asyncio.sleep(0.2)


@pytest.mark.timeout(900)
async def test_lost_mail_comes_back_beside_what_is_there_and_in_place_only_once(spine: Spine) -> None:
    server = spine.sender.server["id"]
    me = await call(spine.sender.client, "GET", "/tenant")
    await deliver(spine, ["kept", "filed", "deleted"])
    assert backups("target", me["id"], "--repository", REPOSITORY) == {"servers": 1, "password": None}
    first = backups("run", "--server", server)
    assert first == {"ok": True, "sentence": "1 mailboxes are saved"}
    (saved,) = backups("list", ADDRESS, "--server", server)
    assert saved["inbox"] == ADDRESS

    spine.inside(spine.sender, "doveadm", "mailbox", "create", "-u", ADDRESS, "Archive")
    move = ["doveadm", "move", "-u", ADDRESS, "Archive", "mailbox", "INBOX", "header", "message-id", "filed"]
    spine.inside(spine.sender, *move)
    spine.inside(
        spine.sender, "doveadm", "expunge", "-u", ADDRESS, "mailbox", "INBOX", "header", "message-id", "deleted"
    )
    await deliver(spine, ["later"])
    now = {("INBOX", "kept"): 1, ("Archive", "filed"): 1, ("INBOX", "later"): 1}
    assert mail(spine) == now

    beside = backups("restore", ADDRESS, "--server", server, "--snapshot", saved["id"])
    assert beside["ok"], beside
    day = saved["at"][:10]
    in_folder = {(f"Restored.{day}.INBOX", name): 1 for name in ("kept", "filed", "deleted")}
    assert mail(spine) == {**now, **in_folder}

    spine.inside(spine.sender, "doveadm", "mailbox", "delete", "-u", ADDRESS, f"Restored.{day}.INBOX")
    for back in ("1 messages", "0 messages"):
        in_place = backups("restore", ADDRESS, "--server", server, "--snapshot", saved["id"], "--in-place")
        assert in_place["sentence"].startswith(back), in_place
        assert mail(spine) == {**now, ("INBOX", "deleted"): 1}

    health = await call(spine.sender.client, "GET", f"/vps/{server}/health")
    assert PASSWORD not in json.dumps(health)
    journal = spine.inside(spine.sender, "journalctl", "-o", "cat", "-u", "penguin-backup", "-u", "penguin-configure")
    assert PASSWORD not in journal
    told = [json.loads(line) for line in journal.splitlines() if line.startswith("{")]
    assert {line.get("server_id") for line in told} == {server}
    assert any(line["logger"] == "agent.backup.run" or line["logger"] == "__main__" for line in told)
