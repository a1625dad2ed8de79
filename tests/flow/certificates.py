"""What the certificate steps look with: who verifies, a steady stream of mail, an authority that has a bad day."""

import asyncio
import contextlib
import datetime as dt
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import text

from control_plane.providers.local.endpoint_certificate import make_endpoint_certificate
from control_plane.providers.local.network import AUTHORITY, GATEWAY
from db.session import Database
from mailstack import layout
from tests.flow.local_cloud import CHECKOUT, until
from tests.flow.spine import Party, Spine, call

ORDER = "/etc/penguin/tls/order.json"
STATUS = "/var/lib/penguin-certificates/status.json"
CERTBOT_ACCOUNTS = "/var/lib/penguin-certificates/certbot/accounts"
CERTBOT_LOG = "/var/lib/penguin-certificates/log/letsencrypt.log"
PROGRAM = "/opt/penguin-agent/current/bin/penguin-certificates"
_BAD_DAY_PORT = 14999

#: Trusts the authority's root of today and nothing else; prints the serial number that each door shows.
_LOOK = """
import smtplib, socket, ssl, sys, urllib.request
address, hostname, authority = sys.argv[1:]
nobody = ssl._create_unverified_context()
root = urllib.request.urlopen(f"https://{authority}:15000/roots/0", context=nobody).read().decode()
trusting = ssl.create_default_context(cadata=root)
serials = set()
for port in (25, 587):
    with smtplib.SMTP(address, port, "probe.example", timeout=10) as smtp:
        smtp._host = hostname
        smtp.starttls(context=trusting)
        serials.add(smtp.sock.getpeercert()["serialNumber"])
for port in (465, 993):
    with socket.create_connection((address, port), 10) as plain:
        with trusting.wrap_socket(plain, server_hostname=hostname) as connection:
            serials.add(connection.getpeercert()["serialNumber"])
print(*serials)
"""
#: Sends over STARTTLS and opens IMAPS, again and again, each time on a new connection, until its input ends.
_STREAM = """
import imaplib, json, select, smtplib, ssl, sys
address, recipient = sys.argv[1:]
context = ssl._create_unverified_context()
accepted, failures = 0, []
while not select.select([sys.stdin], [], [], 0.05)[0]:
    try:
        with smtplib.SMTP(address, 25, "probe.example", timeout=10) as smtp:
            smtp.starttls(context=context)
            smtp.sendmail("", [recipient], f"Subject: stream {accepted}\\r\\n\\r\\nHello.\\r\\n")
            accepted += 1
        imaplib.IMAP4_SSL(address, 993, ssl_context=context, timeout=10).logout()
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        failures.append(repr(error))
print(json.dumps({"accepted": accepted, "failures": failures}))
"""


def shown_serials(spine: Spine, party: Party) -> set[str]:
    """Look at all doors as a client that trusts today's root; fails when one does not show its certificate."""
    server = party.server
    return set(spine.from_outside(_LOOK, server["ip_address"], server["hostname"], str(AUTHORITY)).split())


@contextlib.asynccontextmanager
async def steady_mail(spine: Spine, party: Party) -> AsyncIterator[dict[str, Any]]:
    """Keep mail flowing to a party's inbox; when it is left, the dictionary holds what became of it."""
    told: dict[str, Any] = {}
    stream = await asyncio.create_subprocess_exec(
        *spine.record.enter,
        *("python3", "-c", _STREAM, party.server["ip_address"], party.inbox["email_address"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield told
        output, _ = await stream.communicate(b"\n")
        told |= json.loads(output)
    finally:
        if stream.returncode is None:
            stream.kill()
            await stream.wait()


def mailbox_count(spine: Spine, party: Party) -> int:
    """Count what of the stream is in the party's inbox."""
    command = ("doveadm", "search", "-u", party.inbox["email_address"], "mailbox", "INBOX", "subject", "stream")
    return len(spine.inside(party, *command).splitlines())


async def until_all_arrived(spine: Spine, party: Party, arrived: Callable[[], int], accepted: int) -> None:
    """Wait until the party's inbox has what was accepted, no less, no more; if not, say what its log knows."""
    try:
        await until(lambda: arrived() == accepted)
    except AssertionError:
        undelivered = spine.inside(party, "sh", "-c", f"grep -E 'status=(deferred|bounced)' {layout.MAIL_LOG} || true")
        queue = spine.inside(party, "postqueue", "-j")
        raise AssertionError(f"{arrived()} of {accepted} arrived; its queue: {queue}; {undelivered}") from None


@contextlib.contextmanager
def authority_on_a_bad_day(spine: Spine, folder: Path) -> Iterator[Mapping[str, str]]:
    """Run the fake beside the servers; yield what an order for it holds, but for the path of its directory."""
    made = make_endpoint_certificate(GATEWAY, dt.datetime.now(dt.UTC))
    certificate, key = folder / "endpoint.pem", folder / "endpoint.key"
    certificate.write_bytes(made.certificate_pem)
    key.write_bytes(made.key_pem)
    arguments = [str(GATEWAY), str(_BAD_DAY_PORT), str(certificate), str(key)]
    with subprocess.Popen(
        [*spine.record.enter, sys.executable, "-m", "tests.fakes.acme", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as fake:
        try:
            assert fake.stdout is not None
            assert fake.stdout.readline() == "ready\n"
            yield {"directory_url": f"https://{GATEWAY}:{_BAD_DAY_PORT}", "roots_pem": made.root_pem.decode()}
        finally:
            fake.kill()


def read_json(spine: Spine, party: Party, path: str) -> dict[str, Any]:
    """Read a file of a server."""
    content: dict[str, Any] = json.loads(spine.inside(party, "cat", path))
    return content


def place_order(spine: Spine, party: Party, order: Mapping[str, str | bool]) -> None:
    """Order a certificate as an applied configuration does: the file is replaced, and systemd sees it."""
    spine.inside(party, "systemctl", "stop", "penguin-certificates.service")
    write = "import os, sys; open('/etc/penguin/tls/.new', 'w').write(sys.argv[1]); os.rename('/etc/penguin/tls/.new', "
    spine.inside(party, "python3", "-c", f"{write}'{ORDER}')", json.dumps(order))


async def renewed_on_demand(spine: Spine, party: Party) -> None:
    """Have the API ask for another certificate, and wait until the server says that it shows it."""
    path = f"/vps/{party.server['id']}"
    attempt = read_json(spine, party, STATUS)["last_attempt"]
    assert (await call(party.client, "POST", f"{path}/certificate:renew"))["state"] == "done"
    async with asyncio.timeout(60):
        while True:
            status = read_json(spine, party, STATUS)
            if status["last_attempt"] > attempt and status["state"] == "issued":
                return
            await asyncio.sleep(0.2)


async def until_state(spine: Spine, party: Party, state: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return what the API says of the server's certificate once it is in that state."""
    async with asyncio.timeout(seconds):
        while True:
            server = await call(party.client, "GET", f"/vps/{party.server['id']}")
            if (server["certificate"] or {}).get("state") == state:
                return server
            await asyncio.sleep(0.1)


async def until_no_record_is_asked_for(spine: Spine, party: Party, seconds: float = 60.0) -> None:
    """Return once the records for the authority are withdrawn: the note of them is taken away last."""
    noted = text("SELECT acme_challenges FROM vps_servers WHERE id = :id")
    database = Database(spine.record.system_database_url, pool_size=1)
    try:
        async with asyncio.timeout(seconds):
            while True:
                async with database.system() as session:
                    if await session.scalar(noted, {"id": party.server["id"]}) is None:
                        return
                await asyncio.sleep(0.2)
    finally:
        await database.close()
