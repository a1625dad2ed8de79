"""What operators do at the command line to single servers, domains, addresses and keys is on their record."""

import json
import uuid
from pathlib import Path

import pytest
from sqlalchemy import text

from control_plane.cli import domains, ip_pools, keys, node, preflight, providers
from control_plane.cli.actor import this_user
from control_plane.errors import Conflict, NotFound
from control_plane.provisioning.joining import Release
from control_plane.sealing import Sealer
from db.session import Database
from tests.integration.command_session import Penguin, acts_of_operators, penguin_on
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import SomeInbox, make_inbox, make_server

_ORDER = text(
    "INSERT INTO provider_orders (account, name, attempt, monthly) VALUES ('a', :name, gen_random_uuid(), 9.99)"
)


@pytest.fixture
def penguin(monkeypatch: pytest.MonkeyPatch, database: FreshDatabase, tmp_path: Path) -> Penguin:
    """Runs `penguin ...` on the test's database, for an installation whose folder is the test's."""

    async def release(_settings: object) -> Release:
        return Release("0" * 64, "")

    def folder(_instance: str) -> Path:
        return tmp_path

    monkeypatch.setattr(node, "_release", release)
    for module in (node, keys):
        monkeypatch.setattr(module, "state_dir", folder)
    return penguin_on(database, monkeypatch, domains, ip_pools, keys, node, preflight, providers)


@pytest.fixture
async def inbox(system_database: Database, tenant: SomeTenant) -> SomeInbox:
    return await make_inbox(system_database, tenant, await make_server(system_database, tenant))


async def recorded(database: Database) -> list[tuple[str, dict[str, object]]]:
    """Return the acts and what they were done to; all are the user's of this machine."""
    acts = await acts_of_operators(database)
    assert {(act.door, act.actor) for act in acts} <= {("cli", this_user().name)}
    return [(act.act, act.subject) for act in acts]


async def test_what_is_done_to_a_domain(penguin: Penguin, system_database: Database, inbox: SomeInbox) -> None:
    name = inbox.address.partition("@")[2]
    runs = [
        json.loads((await penguin("domain", deed, name, "--json")).stdout)["run"] for deed in ("rotate-dkim", "repair")
    ]
    async with system_database.system() as session:
        domain_id = await session.scalar(text("SELECT id FROM domains WHERE name = :name"), {"name": name})
    of = {"tenant_id": str(inbox.tenant.id), "domain_id": str(domain_id)}
    assert await recorded(system_database) == [
        ("domain.rotate-dkim", {**of, "run_id": runs[0]}),
        ("domain.repair", {**of, "run_id": runs[1]}),
    ]


async def test_what_is_done_to_an_address(penguin: Penguin, system_database: Database, inbox: SomeInbox) -> None:
    address_id = (await penguin("pool", "add-address", inbox.vps_id)).stdout.strip()
    # As long as it is being got it is not given back, and that is no act.
    early = await penguin("pool", "retire-address", inbox.vps_id, address_id)
    assert isinstance(early.exception, Conflict)
    async with system_database.system() as session:
        await session.execute(text("UPDATE server_addresses SET state = 'ready'"))
    await penguin("pool", "retire-address", inbox.vps_id, address_id)
    of = {"tenant_id": str(inbox.tenant.id), "vps_id": str(inbox.vps_id), "address_id": address_id}
    assert await recorded(system_database) == [("address.add", of), ("address.retire", of)]


async def test_a_server_that_is_invited_and_one_that_is_looked_at(
    penguin: Penguin, system_database: Database, tenant: SomeTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await penguin("node", "join-command", "--hostname", "mx-berlin", "--tenant", tenant.id, "--json")
    vps_id = json.loads(made.stdout)["vps_id"]
    looked_at = await make_server(system_database, tenant)
    # There is no worker that would look.
    monkeypatch.setattr(preflight, "_PATIENCE_SECONDS", 0.0)
    await penguin("vps", "preflight", looked_at)
    async with system_database.system() as session:
        run_id = await session.scalar(text("SELECT id FROM pipeline_runs WHERE subject_id = :id"), {"id": looked_at})
    assert await recorded(system_database) == [
        ("vps.invite", {"tenant_id": str(tenant.id), "vps_id": vps_id}),
        ("vps.preflight", {"tenant_id": str(tenant.id), "vps_id": str(looked_at), "run_id": str(run_id)}),
    ]


async def test_an_order_that_was_never_placed(penguin: Penguin, system_database: Database) -> None:
    assert isinstance((await penguin("provider", "forget-order", "hostwinds", "mx-1")).exception, NotFound)
    async with system_database.system() as session:
        await session.execute(_ORDER, {"name": "mx-1"})
    await penguin("provider", "forget-order", "hostwinds", "mx-1")
    assert await recorded(system_database) == [("order.forget", {"provider": "hostwinds", "name": "mx-1"})]


async def test_keys_that_are_changed_and_destroyed(penguin: Penguin, system_database: Database, tmp_path: Path) -> None:
    [first] = Sealer.of_file(tmp_path / "sealing.key").headers
    await penguin("keys", "rotate")
    await penguin("keys", "retire")
    # Now there is none that is not in use.
    await penguin("keys", "retire")
    signing = json.loads((await penguin("keys", "rotate-signing", "--json")).stdout)["signing_key"]
    async with system_database.system() as session:
        rotation_id = await session.scalar(text("SELECT id FROM key_rotations"))
    assert await recorded(system_database) == [
        ("keys.rotate", {"rotation_id": str(rotation_id)}),
        ("keys.retire", {"keys": [first.hex()]}),
        ("keys.rotate-signing", {"signing_key": signing}),
    ]


async def test_what_was_refused_is_not_recorded(penguin: Penguin, system_database: Database) -> None:
    for words in (
        ("domain", "rotate-dkim", "nowhere.example"),
        ("domain", "repair", "nowhere.example"),
        ("pool", "add-address", uuid.uuid4()),
        ("vps", "preflight", uuid.uuid4()),
    ):
        assert isinstance((await penguin(*words)).exception, NotFound)
    assert await recorded(system_database) == []
