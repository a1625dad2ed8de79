"""Backups of mailboxes: by real restic on a server's side, asked for and watched on ours."""

import datetime as dt
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import text

from agent.backup.back_up import back_up
from agent.backup.order import Order
from agent.backup.places import Places
from agent.backup.restic import Restic, ResticFailed
from agent.backup.status import Status
from control_plane.backups.mailboxes import MOST_AT_ONCE, ask_servers
from control_plane.errors import InvalidInput, NotFound
from control_plane.fleet.mail_backups import (
    ShownTarget,
    TargetSet,
    WantedTarget,
    drop_target,
    mail_backup_of,
    set_target,
    show_target,
    without_user,
)
from control_plane.sealing import Sealer
from db.session import Database
from tests.fakes.s3 import S3Place, s3_place
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.restic_rest import RestPlace, rest_place
from tests.integration.submission.certificate import make_certificate

SERVER = "0190aaaa-0000-7000-8000-000000000001"
TARGET = WantedTarget("s3:https://s3.example/bucket", {"AWS_SECRET_ACCESS_KEY": "fish"}, "herring-and-sardine")
HOUR = dt.timedelta(minutes=61)


@pytest.fixture
def order(tmp_path: Path) -> Order:
    mailboxes = ("anna@acme.example", "ben@acme.example", "nobody@acme.example")
    return Order(str(tmp_path / "repository"), "herring-and-sardine", {}, SERVER, mailboxes)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "state", tmp_path / "mail")
    for name in ("anna", "ben"):
        for folder in ("cur", "new", "tmp"):
            (places.home(f"{name}@acme.example") / "Maildir" / folder).mkdir(parents=True)
        (places.home(f"{name}@acme.example") / "Maildir" / "cur" / "1.a:2,S").write_text(f"for {name}")
        (places.home(f"{name}@acme.example") / "Maildir" / "dovecot.index.log").write_text("not mail")
    return places


def test_each_mailbox_is_a_snapshot_of_its_own_and_comes_back_as_it_was(order: Order, places: Places) -> None:
    restic = Restic(order, places.cache)
    done = back_up(restic, order, places, Status())
    assert (done.mailboxes, done.good) == (2, done.ended), done.detail
    assert {each.address for each in restic.snapshots()} == {"anna@acme.example", "ben@acme.example"}
    (saved,) = restic.snapshots("anna@acme.example")
    earlier = restic.fetch(saved, places.scratch) / "Maildir"
    assert (earlier / "cur" / "1.a:2,S").read_text() == "for anna"
    assert not (earlier / "dovecot.index.log").exists()


def test_servers_have_repositories_of_their_own_and_one_can_read_anothers(order: Order, places: Places) -> None:
    back_up(Restic(order, places.cache), order, places, Status())
    assert (Path(order.repository) / SERVER / "config").exists()
    other = Order(order.repository, order.password, {}, str(uuid.uuid4()), ())
    with pytest.raises(ResticFailed):
        Restic(other, places.cache).snapshots()
    assert len(Restic(other, places.cache, SERVER).snapshots("anna@acme.example")) == 1


def test_a_backup_that_fails_says_why_and_keeps_when_the_last_good_one_was(order: Order, places: Places) -> None:
    good = back_up(Restic(order, places.cache), order, places, Status())
    wrong = Order(order.repository, "another-password-1", {}, SERVER, order.mailboxes)
    failed = back_up(Restic(wrong, places.cache), wrong, places, good)
    assert (failed.good, failed.mailboxes) == (good.good, good.mailboxes)
    assert failed.ended > good.ended
    assert failed.detail.startswith("restic init failed")
    assert "another-password-1" not in failed.detail


@pytest.fixture
def rest(tmp_path: Path) -> Iterator[RestPlace]:
    with rest_place(tmp_path / "rest") as place:
        yield place


def test_a_server_of_restics_protocol_takes_backups_by_https_and_gives_them_back(
    rest: RestPlace, order: Order, places: Places
) -> None:
    far = replace(order, repository=rest.repository(), credentials=rest.trust)
    back_up_and_bring_back(far, places)
    assert (rest.folder / "backups" / SERVER / "config").is_file()
    assert not [path for path in rest.folder.rglob("*") if path.is_file() and b"for anna" in path.read_bytes()]


def back_up_and_bring_back(far: Order, places: Places) -> None:
    restic = Restic(far, places.cache)
    first = back_up(restic, far, places, Status())
    assert (first.mailboxes, first.good) == (2, first.ended), first.detail
    (was,) = restic.snapshots("anna@acme.example")
    (places.home("anna@acme.example") / "Maildir" / "cur" / "2.a:2,S").write_text("more for anna")
    later = back_up(restic, far, places, first)
    assert later.good > first.good, later.detail
    # The same day's earlier one has gone there, too, and another server reads what is left.
    other = Restic(replace(far, server=str(uuid.uuid4())), places.cache, SERVER)
    (now,) = other.snapshots("anna@acme.example")
    assert now.id != was.id
    brought = other.fetch(now, places.scratch) / "Maildir" / "cur"
    assert sorted(path.read_text() for path in brought.iterdir()) == ["for anna", "more for anna"]


def test_where_nobody_lets_the_server_in_it_says_so_and_tells_no_password(
    rest: RestPlace, order: Order, places: Places
) -> None:
    stranger = replace(order, repository=rest.repository("sprat-of-a-stranger"), credentials=rest.trust)
    refused = back_up(Restic(stranger, places.cache), stranger, places, Status())
    assert refused.good == 0.0
    assert "401 Unauthorized" in refused.detail
    assert not any(secret in refused.detail for secret in ("sprat", order.password))
    # And what has a certificate that nobody knows is given nothing.
    unknown = replace(order, repository=rest.repository())
    assert "certificate" in back_up(Restic(unknown, places.cache), unknown, places, Status()).detail
    assert not any(rest.folder.iterdir())


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Place]:
    with s3_place(*make_certificate(tmp_path), "whiting-of-the-bucket") as place:
        yield place


def test_a_bucket_takes_backups_by_the_s3_protocol_and_gives_them_back(
    s3: S3Place, order: Order, places: Places
) -> None:
    far = replace(order, repository=s3.repository, credentials=s3.credentials(s3.secret))
    with patch.object(subprocess, "run", wraps=subprocess.run) as ran:
        back_up_and_bring_back(far, places)
    assert f"mail/{SERVER}/config" in s3.objects
    assert not [key for key, content in s3.objects.items() if b"for anna" in content]
    words = [word for call in ran.call_args_list for word in call.args[0]]
    assert "backup" in words
    assert not [word for word in (*words, *s3.seen) if s3.secret in word or order.password in word]


def test_a_bucket_that_knows_another_key_takes_nothing_and_it_is_told_without_the_key(
    s3: S3Place, order: Order, places: Places
) -> None:
    stranger = replace(order, repository=s3.repository, credentials=s3.credentials("gudgeon-of-a-stranger"))
    refused = back_up(Restic(stranger, places.cache), stranger, places, Status())
    assert refused.good == 0.0
    assert "SignatureDoesNotMatch" in refused.detail
    assert not any(secret in refused.detail for secret in ("gudgeon", order.password))
    assert s3.objects == {}


async def test_a_tenants_servers_are_told_where_to_and_others_are_not(
    system_database: Database, tenant: SomeTenant, other_tenant: SomeTenant, tmp_path: Path
) -> None:
    sealer = Sealer.of_file(tmp_path / "sealing.key")
    own, foreign = await make_server(system_database, tenant), await make_server(system_database, other_tenant)
    async with system_database.system() as session:
        assert await set_target(session, sealer, tenant.id, TARGET) == TargetSet(1)
    async with system_database.system() as session:
        told = await mail_backup_of(session, sealer, own)
        assert told is not None
        assert (told.repository, told.password, dict(told.credentials), told.server) == (
            TARGET.repository,
            TARGET.password,
            TARGET.credentials,
            str(own),
        )
        assert await mail_backup_of(session, sealer, foreign) is None
        (kept,) = await session.scalars(text("SELECT target_sealed FROM mail_backup_targets"))
        assert b"herring" not in bytes(kept)
        with pytest.raises(NotFound):
            await set_target(session, sealer, uuid.uuid4(), TARGET)
        assert await drop_target(session, tenant.id) == 1
        assert await mail_backup_of(session, sealer, own) is None
        assert await session.scalar(text("SELECT target_sealed FROM mail_backup_targets")) is None
        with pytest.raises(NotFound):
            await drop_target(session, tenant.id)


async def test_a_password_that_nobody_gives_is_made_and_told_once(
    system_database: Database, tenant: SomeTenant, tmp_path: Path
) -> None:
    sealer, server = Sealer.of_file(tmp_path / "sealing.key"), await make_server(system_database, tenant)
    wanted = WantedTarget("rest:https://fish:herring@backups.example/penguin")
    async with system_database.system() as session:
        done = await set_target(session, sealer, tenant.id, wanted)
        told = await mail_backup_of(session, sealer, server)
        shown = await show_target(session, tenant.id)
    assert told is not None
    assert (told.password, told.repository) == (done.new_password, wanted.repository)
    assert shown == ShownTarget("rest:https://backups.example/penguin", [], shown.set_at)


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        ("rest:https://fish:a@b@backups.example:8000/x@y", "rest:https://backups.example:8000/x@y"),
        ("s3:https://s3.example/bucket", "s3:https://s3.example/bucket"),
        ("b2:bucket:path", "b2:bucket:path"),
        ("/mnt/backups", "/mnt/backups"),
    ],
)
def test_a_place_is_shown_without_who_logs_in_there(repository: str, shown: str) -> None:
    assert without_user(repository) == shown


@pytest.mark.parametrize(
    "wrong",
    [
        WantedTarget("sftp:user@host:/backups"),
        WantedTarget("/mnt/backups", password="short"),
        WantedTarget("/mnt/backups", {"RESTIC_PASSWORD_COMMAND": "id"}),
        WantedTarget("azure:box:/", {"AZURE_ACCOUNT_NAME": "evil.example/?"}),
    ],
)
async def test_what_a_server_would_refuse_is_refused_here(
    system_database: Database, tenant: SomeTenant, tmp_path: Path, wrong: WantedTarget
) -> None:
    async with system_database.system() as session:
        with pytest.raises(InvalidInput):
            await set_target(session, Sealer.of_file(tmp_path / "sealing.key"), tenant.id, wrong)


async def test_servers_are_asked_once_so_many_at_a_time_and_again_an_hour_later(
    system_database: Database, tenant: SomeTenant, tmp_path: Path
) -> None:
    servers = {await make_server(system_database, tenant) for _ in range(MOST_AT_ONCE + 1)}
    now = dt.datetime.now(dt.UTC)
    async with system_database.system() as session:
        assert await ask_servers(session, now) == []
        await set_target(session, Sealer.of_file(tmp_path / "sealing.key"), tenant.id, TARGET)
        await session.execute(text("UPDATE vps_servers SET status = 'ready', link_session = gen_random_uuid()"))
    asked: list[uuid.UUID] = []
    for _ in range(3):
        async with system_database.system() as session:
            asked += await ask_servers(session, now)
    assert len(asked) == len(servers)
    assert set(asked) == servers
    async with system_database.system() as session:
        assert len(await ask_servers(session, now + HOUR)) == MOST_AT_ONCE
        await drop_target(session, tenant.id)
        assert await ask_servers(session, now + 2 * HOUR) == []
