"""Two real servers are changed while mail flows: bad releases, settings and packages go back, and no send is lost."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import shutil
import uuid
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from control_plane.enrolment.authority import Authority
from control_plane.operators import upgrades
from control_plane.operators.acts import Actor, Door
from control_plane.processes.places import HOME
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.upgrades.configuration_plans import ConfigurationWish
from control_plane.upgrades.package_plans import PackagesWish
from control_plane.upgrades.plans import Pace, PlanView, Wish, show_plan
from control_plane.upgrades.releases import store_release
from db.session import Database
from tests.flow.package_source import CUTS_OFF, FAILS, installed, offer
from tests.flow.spine import Spine, call, running_spine

INSTANCE = "flow-upgrade"
OPERATOR = Actor(Door.CLI, "tester")
#: A ring is left once its servers have the release; a new release has so long to link.
PACE = Pace(minimum_sends=0, soak=dt.timedelta(0), patience=dt.timedelta(seconds=20))
INTERVAL_SECONDS = 0.5
#: What is added to a release is added to its network half, but for what is rendered otherwise.
NETWORK_HALF, TEMPLATE = "agent/__main__.py", "mailstack/postfix/templates/main.cf.j2"
MAIN_CF = "/etc/postfix/main.cf"
LOOK_FOR_DRIFT = """
from mailstack.apply.desired import drifted_paths
from mailstack.apply.host import LinuxHost
print(*drifted_paths(LinuxHost()), end="")
"""
RENDERS_OTHERWISE = "# Rendered by another release.\n"
RENDERS_WHAT_IS_REFUSED = "no_such_parameter = yes\n"
_INSTEAD = """

_main = main


def main() -> int:
    if sys.argv[1:]:
        return _main()
"""
CRASHES = _INSTEAD + "    raise RuntimeError('a bad release')\n"
HANGS = _INSTEAD + "    import time\n    time.sleep(3600)\n    return 1\n"
NEVER_LINKS = _INSTEAD + "    import time\n    notify('READY=1')\n    time.sleep(3600)\n    return 1\n"


@pytest.fixture
async def spine() -> AsyncIterator[Spine]:
    async with running_spine(INSTANCE, "sales@acme.example", "hello@beta.example") as running:
        yield running


@pytest.fixture
async def database(spine: Spine) -> AsyncIterator[Database]:
    opened = Database(spine.record.system_database_url, pool_size=2)
    yield opened
    await opened.close()


def make_wheelhouse(folder: Path, addition: str, file: str = NETWORK_HALF) -> Path:
    """Make a wheelhouse of the installation's own in which a file ends with `addition`."""
    shutil.copytree(HOME / "wheelhouse", folder)
    document = json.loads((folder / "manifest.json").read_bytes())
    (own,) = (each for each in document["wheels"] if each["name"].startswith("penguinmails-"))
    changed = folder / "changed.whl"
    with zipfile.ZipFile(folder / own["name"]) as old, zipfile.ZipFile(changed, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry, content + addition.encode() if entry.filename == file else content)
    changed.replace(folder / own["name"])
    own["sha256"] = hashlib.sha256((folder / own["name"]).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


async def upgrade(spine: Spine, database: Database, wheelhouse: Path) -> tuple[str, PlanView]:
    """Sign and offer a release, plan and apply an upgrade to it, and return how it ended."""
    settings = Settings(state_dir=spine.state_dir, wheelhouse_dir=HOME / "wheelhouse")
    stored = await asyncio.to_thread(store_release, wheelhouse, settings.releases_dir)
    async with database.system() as session:
        sealer = Sealer.of_file(settings.sealing_key_file)
        authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
        name = await upgrades.add_release(session, OPERATOR, authority, stored)
        canary = uuid.UUID(spine.sender.server["id"])
        plan = await upgrades.make_plan(session, OPERATOR, Wish(name, [canary], PACE))
        await upgrades.apply_plan(session, OPERATOR, plan.id)
        plan_id = plan.id
    return name, await ended_plan(database, plan_id, 150)


async def configure(
    spine: Spine, database: Database, changes: Mapping[str, str | None], pace: Pace, seconds: float
) -> PlanView:
    """Plan and apply other settings of the fleet, and return how it ended."""
    async with database.system() as session:
        wish = ConfigurationWish(changes, [uuid.UUID(spine.sender.server["id"])], pace)
        plan = await upgrades.make_configuration_plan(session, OPERATOR, wish)
        await upgrades.apply_plan(session, OPERATOR, plan.id)
        plan_id = plan.id
    return await ended_plan(database, plan_id, seconds)


async def begin_packages(
    spine: Spine, database: Database, versions: Mapping[str, Sequence[str]], pace: Pace = PACE
) -> uuid.UUID:
    """Plan and apply other versions of mail packages, and return the plan's id."""
    async with database.system() as session:
        wish = PackagesWish(versions, [uuid.UUID(spine.sender.server["id"])], pace)
        plan = await upgrades.make_package_plan(session, OPERATOR, wish)
        await upgrades.apply_plan(session, OPERATOR, plan.id)
        return plan.id


async def ended_plan(database: Database, plan_id: uuid.UUID, seconds: float) -> PlanView:
    """Return a plan once it has ended."""
    return await until(database, plan_id, seconds, lambda shown: shown.plan.state in {"done", "rolled_back"})


async def until(database: Database, plan_id: uuid.UUID, seconds: float, is_so: Callable[[PlanView], bool]) -> PlanView:
    """Return a plan once it is so."""
    async with asyncio.timeout(seconds):
        while True:
            async with database.system() as session:
                shown = await show_plan(session, plan_id)
            if is_so(shown):
                return shown
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def sending(spine: Spine, interval_seconds: float = INTERVAL_SECONDS) -> AsyncIterator[dict[str, str]]:
    """Keep the sender sending until the context is left; gives the messages' ids by subject."""
    sent: dict[str, str] = {}

    async def send_on() -> None:
        while True:
            subject = f"steady {len(sent)}"
            sent[subject] = await spine.send(spine.receiver.inbox["email_address"], subject)
            await asyncio.sleep(interval_seconds)

    task = asyncio.create_task(send_on())
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def seconds(ended: PlanView) -> float:
    """Return how long it took from the plan to its end."""
    assert ended.plan.ended_at is not None
    return (ended.plan.ended_at - ended.plan.created_at).total_seconds()


def releases_on(spine: Spine) -> tuple[str, set[str]]:
    """Return the release that runs on the sender's server, and all that are there."""
    folder = "/opt/penguin-agent"
    current = spine.inside(spine.sender, "readlink", f"{folder}/current").strip().rpartition("/")[2]
    return current, set(spine.inside(spine.sender, "ls", f"{folder}/releases").split())


async def each_arrived_once(spine: Spine, sent: Mapping[str, str]) -> None:
    """Check that what was sent was delivered, and lies in the receiver's mailbox once."""
    states = Counter([(await spine.final(message_id, 60.0))["state"] for message_id in sent.values()])
    assert states == {"delivered": len(sent)}
    address = spine.receiver.inbox["email_address"]
    arrived = spine.inside(spine.receiver, "doveadm", "-f", "tab", "fetch", "-u", address, "hdr.subject", "ALL")
    assert Counter(arrived.splitlines()[1:]) == Counter(list(sent))
    print(f"{len(sent)} sends, each delivered once")


# Two servers are made, and five releases tried on them, three of which are waited for until they are given up.
@pytest.mark.timeout(600)
async def test_bad_releases_go_back_by_themselves_and_a_good_one_stays_and_no_send_is_lost(
    spine: Spine, database: Database, tmp_path: Path
) -> None:
    old, _ = releases_on(spine)
    async with sending(spine) as sent:
        for kind, addition, words in (
            ("crashes", CRASHES, "it ended 3 times"),
            ("hangs", HANGS, "did not hear of it within 20 s"),
            ("never links", NEVER_LINKS, "did not hear of it within 20 s"),
        ):
            _, ended = await upgrade(spine, database, make_wheelhouse(tmp_path / kind, addition))
            canary, other = ended.servers
            assert ended.plan.state == "rolled_back", kind
            assert words in (canary.reason or ""), kind
            assert other.state == "waiting", kind
            assert releases_on(spine) == (old, {old}), kind
            print(f"{kind}: {canary.reason}; {seconds(ended):.0f} s")
        refused = make_wheelhouse(tmp_path / "refused", RENDERS_WHAT_IS_REFUSED, TEMPLATE)
        name, ended = await upgrade(spine, database, refused)
        assert (ended.plan.state, [each.state for each in ended.servers]) == ("rolled_back", ["reverted", "waiting"])
        assert "configuration" in (ended.plan.reason or "")
        assert releases_on(spine) == (old, {old})
        assert RENDERS_WHAT_IS_REFUSED not in spine.inside(spine.sender, "cat", MAIN_CF)
        print(f"{name} renders what is refused: {seconds(ended):.0f} s")
        good, ended = await upgrade(spine, database, make_wheelhouse(tmp_path / "good", RENDERS_OTHERWISE, TEMPLATE))
        assert (ended.plan.state, {each.state for each in ended.servers}) == ("done", {"installed"})
        assert releases_on(spine) == (good, {old, good})
        for party in (spine.sender, spine.receiver):
            assert spine.inside(party, "cat", MAIN_CF).endswith(RENDERS_OTHERWISE)
        print(f"good: {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent)
    shown = await call(spine.sender.client, "GET", f"/vps/{spine.sender.server['id']}/health")
    assert good in json.dumps(shown)


# What is deferred is seen once a window of five minutes has ended.
@pytest.mark.timeout(1200)
async def test_settings_under_which_mail_is_deferred_are_taken_back_by_themselves_and_no_send_is_lost(
    spine: Spine, database: Database
) -> None:
    ended = await configure(spine, database, {"smtp_destination_concurrency_limit": "5"}, PACE, 120)
    assert (ended.plan.state, {each.state for each in ended.servers}) == ("done", {"installed"})
    for party in (spine.sender, spine.receiver):
        assert "\nsmtp_destination_concurrency_limit = 5\n" in spine.inside(party, "cat", MAIN_CF)
    print(f"good: {seconds(ended):.0f} s")

    before = spine.inside(spine.sender, "cat", MAIN_CF)
    async with sending(spine, 2.0) as sent:
        # The receiver's certificate is of no authority that the sender's server knows.
        pace = Pace(minimum_sends=20, soak=dt.timedelta(hours=1))
        ended = await configure(spine, database, {"smtp_tls_security_level": "verify"}, pace, 900)
        assert (ended.plan.state, [each.state for each in ended.servers]) == ("rolled_back", ["reverted", "waiting"])
        # By the check of its queue or the gate on delivery, whichever window ends first.
        assert any(words in (ended.plan.reason or "") for words in (": queue", "were deferred"))
        assert spine.inside(spine.sender, "cat", MAIN_CF) == before
        print(f"bad: {ended.plan.reason}; {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent)


# Five plans, each of which watches a server for a while.
@pytest.mark.timeout(900)
async def test_bad_packages_go_back_by_themselves_and_good_ones_stay_through_a_cut_and_no_send_is_lost(
    spine: Spine, database: Database
) -> None:
    before = {name: installed(spine, spine.sender, name).split()[0] for name in ("opendkim", "postfix")}
    async with sending(spine) as sent:
        fails = offer(spine, spine.sender, "opendkim", "+1", postinst=FAILS)
        ends = offer(spine, spine.sender, "opendkim", "+2", broken="usr/sbin/opendkim")
        for version, words in (
            ("9", "opendkim is offered here as"),
            (fails, "is half-configured"),
            (ends, "opendkim.service ended"),
        ):
            ended = await ended_plan(database, await begin_packages(spine, database, {"opendkim": [version]}), 180)
            canary, other = ended.servers
            assert ended.plan.state == "rolled_back", version
            assert words in (canary.reason or ""), version
            assert other.state == "waiting", version
            assert installed(spine, spine.sender, "opendkim") == f"{before['opendkim']} installed hold", version
            assert "active" in spine.inside(spine.sender, "systemctl", "is-active", "opendkim.service")
            print(f"{version}: {canary.reason}; {seconds(ended):.0f} s")

        # Both at once, cut off in the middle of it on either server.
        good = {}
        for party in (spine.sender, spine.receiver):
            good["opendkim"] = [offer(spine, party, "opendkim", "+3")]
            good["postfix"] = [offer(spine, party, "postfix", "+3", postinst=CUTS_OFF)]
        ended = await ended_plan(database, await begin_packages(spine, database, good), 300)
        assert (ended.plan.state, {each.state for each in ended.servers}) == ("done", {"installed"})
        for party in (spine.sender, spine.receiver):
            spine.inside(party, "test", "-e", "/run/was-cut-off")
            for name, (version,) in good.items():
                assert installed(spine, party, name) == f"{version} installed hold"
            assert not spine.inside(party, "/opt/penguin-agent/current/bin/python", "-c", LOOK_FOR_DRIFT)
        print(f"good: {seconds(ended):.0f} s")

        later = {"postfix": [offer(spine, spine.sender, "postfix", "+4")]}
        plan_id = await begin_packages(spine, database, later, Pace(minimum_sends=0, soak=dt.timedelta(hours=1)))
        await until(database, plan_id, 120, lambda shown: shown.servers[0].state == "installed")
        async with database.system() as session:
            await upgrades.abort_plan(session, OPERATOR, plan_id)
        ended = await ended_plan(database, plan_id, 120)
        assert [each.state for each in ended.servers] == ["reverted", "waiting"]
        assert installed(spine, spine.sender, "postfix") == f"{good['postfix'][0]} installed hold"
        print(f"taken back: {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent)
