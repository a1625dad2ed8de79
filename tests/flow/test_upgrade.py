"""Two real servers are changed while mail flows: bad releases, settings and packages go back, and no send is lost."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import json
import re
import shutil
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.enrolment.authority import Authority
from control_plane.monitoring.metrics import POSITION
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
#: A ring is watched for longer than the test lasts, or for so many attempts.
WATCHED = Pace(minimum_sends=0, soak=dt.timedelta(hours=1))
COUNTED = Pace(minimum_sends=30, soak=dt.timedelta(hours=1))
#: Of packages: how it delivers is not judged, for a server that is away for a moment is the only one that is sent to.
PACKAGES_PACE = Pace(minimum_sends=1_000_000, soak=dt.timedelta(0), patience=dt.timedelta(minutes=1))
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
#: Takes a MiB ten or twenty times a second: until the end from the beginning, or forty-eight once nobody on the server
#: watches any more.
_LEAKS = (
    _INSTEAD
    + """    import json
    import threading
    import time
    from pathlib import Path

    def leak() -> None:
        kept = []
        {waits}
        while len(kept) < {most}:
            time.sleep({pause})
            kept.append(b"x" * (1 << 20))
        time.sleep(3600)

    threading.Thread(target=leak, daemon=True).start()
    return _main()
"""
)
LEAKS = _LEAKS.format(waits="", most=1000, pause=0.05)
_STATUS = 'Path("/var/lib/penguin-upgrade/status.json").read_bytes()'
LEAKS_LATER = _LEAKS.format(
    waits=f'while json.loads({_STATUS})["state"] != "installed": time.sleep(0.1)', most=48, pause=0.1
)
#: Four of ten addresses: too few for the check of the queue, which fails from eight of ten on.
DEFERS_SOME = r"{% raw %}transport_maps = regexp:{{/\+[0-9]*[0-3]@/ smtp:[127.0.0.1]:9}}{% endraw %}" "\n"


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


async def upgrade(spine: Spine, database: Database, wheelhouse: Path, pace: Pace = PACE) -> tuple[str, PlanView]:
    """Sign and offer a release, plan and apply an upgrade to it, and return how it ended."""
    settings = Settings(state_dir=spine.state_dir, wheelhouse_dir=HOME / "wheelhouse")
    stored = await asyncio.to_thread(store_release, wheelhouse, settings.releases_dir)
    async with database.system() as session:
        sealer = Sealer.of_file(settings.sealing_key_file)
        authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
        name = await upgrades.add_release(session, OPERATOR, authority, stored)
        canary = uuid.UUID(spine.sender.server["id"])
        plan = await upgrades.make_plan(session, OPERATOR, Wish(name, [canary], pace))
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
    spine: Spine, database: Database, versions: Mapping[str, Sequence[str]], pace: Pace = PACKAGES_PACE
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


async def until_counted(spine: Spine, database: Database, attempts: int) -> None:
    """Wait until the sender's server has reported that so many attempts more succeeded than when it first reported."""
    position = POSITION["delivered.other"] + 1
    counted = text(
        f"SELECT max(measured[{position}]) - min(coalesce(measured[{position}], 0))"  # noqa: S608 - a number of ours
        " FROM health_reports WHERE vps_id = :id"
    )
    async with asyncio.timeout(120):
        while True:
            async with database.system() as session:
                if (await session.scalar(counted, {"id": spine.sender.server["id"]}) or 0) >= attempts:
                    return
            await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def sending(spine: Spine) -> AsyncIterator[dict[str, str]]:
    """Keep the sender sending until the context is left; gives the messages' ids by subject."""
    sent: dict[str, str] = {}
    begun = f"steady since {time.monotonic():.0f}"
    name, _, domain = spine.receiver.inbox["email_address"].partition("@")

    ended = asyncio.Event()

    async def send_on() -> None:
        # Not cancelled: what is accepted must be known.
        while not ended.is_set():
            subject = f"{begun} {len(sent)}"
            sent[subject] = await spine.send(f"{name}+{len(sent)}@{domain}", subject)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), INTERVAL_SECONDS)

    task = asyncio.create_task(send_on())
    try:
        yield sent
    finally:
        ended.set()
        await asyncio.wait([task])
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


async def until_nothing_waits(spine: Spine) -> None:
    """Wait until the receiver's server has put what it took into mailboxes; what it has deferred is tried at once."""
    async with asyncio.timeout(60):
        while spine.inside(spine.receiver, "postqueue", "-j"):
            spine.inside(spine.receiver, "postqueue", "-f")
            await asyncio.sleep(0.5)


async def each_arrived_once(spine: Spine, sent: Mapping[str, str]) -> None:
    """Check that what was sent was delivered, and lies in the receiver's mailbox once."""
    states = Counter([(await spine.final(message_id, 60.0))["state"] for message_id in sent.values()])
    assert states == {"delivered": len(sent)}
    await until_nothing_waits(spine)
    address = spine.receiver.inbox["email_address"]
    arrived = spine.inside(spine.receiver, "doveadm", "-f", "tab", "fetch", "-u", address, "hdr.subject", "ALL")
    assert Counter(arrived.splitlines()[1:]) == Counter(list(sent))
    print(f"{len(sent)} sends, each delivered once")


# Two servers are made, and seven releases tried on them, three of which are waited for until they are given up.
@pytest.mark.timeout(900)
async def test_bad_releases_go_back_by_themselves_and_a_good_one_stays_and_no_send_is_lost(
    spine: Spine, database: Database, tmp_path: Path
) -> None:
    old, _ = releases_on(spine)
    async with sending(spine) as sent:
        for kind, addition, words in (
            ("crashes", CRASHES, "it ended 3 times"),
            ("hangs", HANGS, "did not hear of it within 20 s"),
            ("never links", NEVER_LINKS, "did not hear of it within 20 s"),
            ("leaks", LEAKS, "it grew to"),
        ):
            _, ended = await upgrade(spine, database, make_wheelhouse(tmp_path / kind, addition))
            canary, other = ended.servers
            assert ended.plan.state == "rolled_back", kind
            assert words in (canary.reason or ""), kind
            assert other.state == "waiting", kind
            assert releases_on(spine) == (old, {old}), kind
            print(f"{kind}: {canary.reason}; {seconds(ended):.0f} s")
        leaks = make_wheelhouse(tmp_path / "leaks later", LEAKS_LATER)
        _, ended = await upgrade(spine, database, leaks, WATCHED)
        assert (ended.plan.state, [each.state for each in ended.servers]) == ("rolled_back", ["reverted", "waiting"])
        assert "its agent takes" in (ended.plan.reason or "")
        assert releases_on(spine) == (old, {old})
        print(f"leaks later: {ended.plan.reason}; {seconds(ended):.0f} s")
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


async def queue_fails(spine: Spine, database: Database) -> bool:
    """Return whether the check of the sender's queue was ever found to fail."""
    kept = text("SELECT EXISTS (SELECT FROM health_checks WHERE vps_id = :id AND kind = 'queue' AND state = 'fail')")
    async with database.system() as session:
        return bool(await session.scalar(kept, {"id": spine.sender.server["id"]}))


# Settings are tried twice and a release once; what is deferred meanwhile is delivered after.
@pytest.mark.timeout(600)
async def test_what_delivers_worse_is_taken_back_by_itself_be_it_a_release_or_a_setting_and_no_send_is_lost(
    spine: Spine, database: Database, tmp_path: Path
) -> None:
    async with sending(spine) as sent:
        ended = await configure(spine, database, {"smtp_destination_concurrency_limit": "5"}, PACE, 120)
        assert (ended.plan.state, {each.state for each in ended.servers}) == ("done", {"installed"})
        for party in (spine.sender, spine.receiver):
            assert "\nsmtp_destination_concurrency_limit = 5\n" in spine.inside(party, "cat", MAIN_CF)
        print(f"good: {seconds(ended):.0f} s")

        (old, _), before = releases_on(spine), spine.inside(spine.sender, "cat", MAIN_CF)
        await until_counted(spine, database, COUNTED.minimum_sends)
        worse = make_wheelhouse(tmp_path / "worse", DEFERS_SOME, TEMPLATE)
        _, ended = await upgrade(spine, database, worse, COUNTED)
        assert (ended.plan.state, [each.state for each in ended.servers]) == ("rolled_back", ["reverted", "waiting"])
        assert re.match(r"ring 0 delivers worse: .* were deferred, and 0\.0% of \d\d+ before", ended.plan.reason or "")
        assert not await queue_fails(spine, database)
        assert releases_on(spine) == (old, {old})
        print(f"a release that delivers worse: {ended.plan.reason}; {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent)
    assert spine.inside(spine.sender, "cat", MAIN_CF) == before

    async with sending(spine) as sent_then:
        # The receiver's certificate is of no authority that the sender's server knows.
        ended = await configure(spine, database, {"smtp_tls_security_level": "verify"}, COUNTED, 300)
        assert (ended.plan.state, [each.state for each in ended.servers]) == ("rolled_back", ["reverted", "waiting"])
        assert "were deferred" in (ended.plan.reason or "")
        assert spine.inside(spine.sender, "cat", MAIN_CF) == before
        print(f"a setting that delivers worse: {ended.plan.reason}; {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent | sent_then)


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
        reasons = [ended.plan.reason, *(each.reason for each in ended.servers)]
        assert (ended.plan.state, {each.state for each in ended.servers}) == ("done", {"installed"}), reasons
        for party in (spine.sender, spine.receiver):
            spine.inside(party, "test", "-e", "/run/was-cut-off")
            for name, (version,) in good.items():
                assert installed(spine, party, name) == f"{version} installed hold"
            assert not spine.inside(party, "/opt/penguin-agent/current/bin/python", "-c", LOOK_FOR_DRIFT)
        print(f"good: {seconds(ended):.0f} s")

        later = {"postfix": [offer(spine, spine.sender, "postfix", "+4")]}
        plan_id = await begin_packages(
            spine, database, later, Pace(minimum_sends=1_000_000, soak=dt.timedelta(hours=1))
        )
        await until(database, plan_id, 120, lambda shown: shown.servers[0].state == "installed")
        async with database.system() as session:
            await upgrades.abort_plan(session, OPERATOR, plan_id)
        ended = await ended_plan(database, plan_id, 120)
        assert [each.state for each in ended.servers] == ["reverted", "waiting"]
        assert installed(spine, spine.sender, "postfix") == f"{good['postfix'][0]} installed hold"
        print(f"taken back: {seconds(ended):.0f} s")
    await each_arrived_once(spine, sent)
