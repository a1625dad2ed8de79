"""What must be known in time is done to a real server: a certificate that ends soon, a partition that fills."""

import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued
from sqlalchemy import Row, text

from control_plane.monitoring.checks import CERTIFICATE_WARN
from control_plane.provisioning.periodic import MONITORING_QUEUE
from db.session import Database
from mailstack import layout
from mailstack.certificates.pair import Pair
from tests.flow.certificates import STATUS, mailbox_count, steady_mail, until_all_arrived
from tests.flow.spine import Party, Spine, running_spine

INSTANCE = "flow-detection"
_DOORS = {25, 465, 587, 993}
#: For a certificate to be served and seen before it ends too soon.
_AHEAD = dt.timedelta(seconds=20)
_LOOK_SECONDS = 0.2

_WRITE = "import sys; open(sys.argv[1], 'r+b').write(bytes.fromhex(sys.argv[2]))"
#: Puts all that changes on a server on a small partition of its own, in memory.
_PARTITION = """
units="penguin-agent.service penguin-configure.socket postfix.service dovecot.service opendkim.service"
systemctl stop $units penguin-configure.service
mount -t tmpfs -o size=400m,mode=755 partition /mnt
cp -a /var/. /mnt/
mount --bind /mnt /var
systemctl restart systemd-journald.service
systemctl start $units
"""
#: Fills it with what can be fetched again, at once up to 82 % and then by a MiB a second, until its input ends; prints
#: when it was nearly full, and how full it ever was.
_FILL = """
import json, os, select, sys, time
def used():
    status = os.statvfs("/var")
    return 1 - status.f_bavail / status.f_blocks
crossed, fullest = None, 0.0
while not select.select([sys.stdin], [], [], 0 if crossed is None and used() < 0.82 else 1)[0]:
    with open("/var/cache/apt/archives/filler.deb", "ab") as file:
        file.write(bytes(1 << 20))
    share = used()
    fullest = max(fullest, share)
    if share >= 0.85 and crossed is None:
        crossed = time.time()
print(json.dumps({"crossed": crossed, "fullest": fullest}))
"""


@pytest.fixture(scope="module")
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, "sales@acme.example", "hello@beta.example") as running:
        yield running


@pytest.fixture
async def database(spine: Spine) -> AsyncIterator[Database]:
    opened = Database(spine.record.system_database_url, pool_size=2)
    yield opened
    await opened.close()


async def until_row(database: Database, party: Party, statement: str, seconds: float, **values: object) -> Row[Any]:
    """Return the row that a statement about the party's server finds, once it finds one."""
    async with asyncio.timeout(seconds):
        while True:
            async with database.system() as session:
                row = (await session.execute(text(statement), {"id": party.server["id"], **values})).first()
            if row is not None:
                return row
            await asyncio.sleep(_LOOK_SECONDS)


async def checked_now(spine: Spine, database: Database, party: Party) -> None:
    """Have the worker check all servers now, as it does every five minutes, and wait until it has."""
    before = dt.datetime.now(dt.UTC)
    connector = PsycopgConnector(conninfo=spine.record.system_database_url.replace("+psycopg", ""))
    async with App(connector=connector).open_async() as app:
        job = app.configure_task(
            "monitoring.health", queue=MONITORING_QUEUE, queueing_lock="monitoring.health", allow_unknown=True
        )
        with contextlib.suppress(AlreadyEnqueued):
            await job.defer_async(timestamp=int(before.timestamp()))
    checked = "SELECT FROM server_health WHERE vps_id = :id AND checked_at >= :before"
    await until_row(database, party, checked, 60, before=before)


def short_pair(hostname: str, ends: dt.datetime) -> Pair:
    """Make a certificate that ends at that moment, of an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, issuer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (hostname, "Short lives"))
    certificate = (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - dt.timedelta(days=90))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM), key_pem)


def serve(spine: Spine, party: Party, pair: Pair) -> None:
    """Have the daemons show a certificate, and the agent look, as after a renewal."""
    spine.inside(party, "truncate", "--size=0", layout.TLS_PAIR)
    spine.inside(party, "python3", "-c", _WRITE, layout.TLS_PAIR, pair.packed.hex())
    spine.inside(party, "systemctl", "reload", "postfix@-.service", "dovecot.service")
    spine.inside(party, "touch", STATUS)


@contextlib.asynccontextmanager
async def filling(spine: Spine, party: Party) -> AsyncIterator[dict[str, float]]:
    """Keep the party's partition filling; when it is left, the dictionary holds how that went."""
    told: dict[str, float] = {}
    process = await asyncio.create_subprocess_exec(
        *(*spine.shell(party), "python3", "-c", _FILL), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield told
        output, _ = await process.communicate(b"\n")
        told |= json.loads(output)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(300)
async def test_a_certificate_is_told_of_when_too_little_is_left_of_what_every_door_shows(
    spine: Spine, database: Database
) -> None:
    party = spine.receiver
    crosses = dt.datetime.now(dt.UTC).replace(microsecond=0) + _AHEAD
    ends = crosses + CERTIFICATE_WARN
    serve(spine, party, short_pair(party.server["hostname"], ends))
    shown = (
        "SELECT FROM vps_reports, jsonb_array_elements(report->'certificates') AS door WHERE vps_id = :id"
        " AND (door->>'not_after_ms')::bigint = :ends AND (door->>'port')::int = ANY(CAST(:doors AS int[]))"
        " HAVING count(*) = cardinality(CAST(:doors AS int[]))"
    )
    await until_row(database, party, shown, 60, ends=int(ends.timestamp() * 1000), doors=sorted(_DOORS))
    await asyncio.sleep(max((crosses - dt.datetime.now(dt.UTC)).total_seconds(), 0))

    await checked_now(spine, database, party)
    found = "SELECT state, changed_at, sentence FROM health_checks WHERE vps_id = :id AND kind = 'ssl'"
    check = await until_row(database, party, found, 1)
    assert (check.state, check.sentence) == ("warn", "Its certificate lasts 14 days.")
    assert check.changed_at >= crosses
    opened = "SELECT opened_at, sentence FROM alerts WHERE vps_id = :id AND rule = 'ssl' AND state = 'open'"
    alert = await until_row(database, party, opened, 10)
    delay = (alert.opened_at - crosses).total_seconds()
    print(f"ssl: {alert.sentence} Told {delay:.1f} s after the threshold, with a check at once after it.")


@pytest.mark.timeout(300)
async def test_a_partition_that_fills_is_told_of_before_it_is_full_and_shed_and_mail_goes_on(
    spine: Spine, database: Database
) -> None:
    party = spine.receiver
    spine.inside(party, "sh", "-ec", _PARTITION)
    reported = (
        "SELECT FROM vps_reports, jsonb_array_elements(report->'disks') AS disk WHERE vps_id = :id"
        " AND (disk->>'total_bytes')::bigint = 400 << 20"
    )
    await until_row(database, party, reported, 60)
    async with steady_mail(spine, party) as mail, filling(spine, party) as filled:
        opened = "SELECT opened_at, sentence FROM alerts WHERE vps_id = :id AND rule = 'disk_full'"
        alert = await until_row(database, party, opened, 90)
        shed = "SELECT ended_at, detail FROM healing_acts WHERE vps_id = :id AND act = 'shed_disk' AND state = 'done'"
        act = await until_row(database, party, shed, 60)
        roomy = "SELECT FROM vps_servers WHERE id = :id AND NOT disk_nearly_full"
        await until_row(database, party, roomy, 60)
    assert ", and full in " in alert.sentence
    assert filled["fullest"] < 1
    crossed = dt.datetime.fromtimestamp(filled["crossed"], dt.UTC)
    print(
        f"disk: {alert.sentence} Told {(alert.opened_at - crossed).total_seconds():.1f} s after 85 %;"
        f" {act.detail} {(act.ended_at - crossed).total_seconds():.1f} s after;"
        f" it was never fuller than {filled['fullest']:.1%}."
    )
    assert mail["failures"] == []
    await until_all_arrived(spine, party, lambda: mailbox_count(spine, party), mail["accepted"])
