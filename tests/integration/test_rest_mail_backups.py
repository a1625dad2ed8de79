"""A tenant says where its mailboxes are backed up to, and asks its servers for backups."""

import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from control_plane.embedded.redis import EmbeddedRedis
from control_plane.errors import InvalidInput
from control_plane.fleet.mail_backups import mail_backup_of
from control_plane.rest.mail_backups import require_place
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase, SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem, walked
from tests.integration.running_hub import RunningHub, running_hub
from tests.integration.test_rest_server_commands import answering, done

PATH = "tenant/mail-backups"
NEW = {"repository": "rest:https://fish:herring@backups.example/penguin", "password": "herring-and-sardine"}
SAVED = [{"id": "7f3a2c91", "at": "2026-11-21T09:30:00Z", "inbox": "anna@acme.example"}]


@pytest.fixture
async def hub(database: FreshDatabase, redis_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(database, redis_server.url, tmp_path) as running:
        yield running


async def test_a_place_is_set_for_all_of_a_tenants_servers_and_taken_back(
    rest_client: httpx.AsyncClient,
    other_client: httpx.AsyncClient,
    system_database: Database,
    tenant: SomeTenant,
    rest_settings: Settings,
) -> None:
    servers = [await make_server(system_database, tenant) for _ in range(2)]
    sealer = Sealer.of_file(rest_settings.sealing_key_file)
    problem(await rest_client.get(PATH), 404, "not-found")
    answer = (await rest_client.put(PATH, json=NEW)).json()
    assert (answer["servers"], answer["password"]) == (2, None)
    shown = await rest_client.get(PATH)
    assert shown.json()["repository"] == "rest:https://backups.example/penguin"
    assert "herring" not in shown.text
    problem(await other_client.get(PATH), 404, "not-found")
    problem(await other_client.delete(PATH), 404, "not-found")
    async with system_database.system() as session:
        for vps_id in servers:
            told = await mail_backup_of(session, sealer, vps_id)
            assert told is not None
            assert (told.repository, told.password) == (NEW["repository"], NEW["password"])
        assert await session.scalar(text("SELECT min(desired_version) FROM vps_servers")) == 2
    stale = {"If-Match": shown.headers["etag"]}
    assert (await rest_client.put(PATH, json={**NEW, "password": "sardine-and-herring"}, headers=stale)).is_success
    problem(await rest_client.delete(PATH, headers=stale), 412, "precondition-failed")
    assert (await rest_client.delete(PATH)).status_code == 204
    problem(await rest_client.get(PATH), 404, "not-found")
    # What was taken back can be set again.
    assert (await rest_client.put(PATH, json=NEW)).is_success
    deeds = (await rest_client.get("audit")).text
    assert "herring" not in deeds


@pytest.mark.parametrize(
    "place",
    ["rest:https://backups.example/x", "s3:https://fish:a@s3.example:9000/bucket", "b2:bucket:x", "azure:box:/x"],
)
def test_places_across_the_network_are_a_tenants_to_name(place: str) -> None:
    require_place(place, private_targets=False)


@pytest.mark.parametrize(
    "place",
    [
        *("/mnt/backups", "/srv/backups", "rest:http://backups.example/x", "s3:http://s3.example/x"),
        *("rest:https://127.0.0.1/x", "rest:https://fish@10.77.0.53/x", "s3:https://169.254.169.254/x"),
        *("rest:https://localhost/x", "rest:https://hub.internal/x", "rest:/mnt/x", "local:/etc", ""),
        *("rest:https://xn--.example/x", "rest:https://[/x"),
    ],
)
def test_a_servers_folders_and_hosts_of_our_own_are_not(place: str) -> None:
    with pytest.raises(InvalidInput):
        require_place(place, private_targets=False)


async def test_a_server_backs_up_and_lists_what_there_is(
    rest_client: httpx.AsyncClient, other_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant
) -> None:
    vps_id = await make_server(hub.database, tenant)
    answers = (done(detail="it begins"), done(output=json.dumps(SAVED)))
    async with answering(hub, tenant, vps_id, *answers) as heard:
        begun = await rest_client.post(f"vps/{vps_id}/mail-backups:run")
        listed = await rest_client.get(f"vps/{vps_id}/mail-backups", params={"inbox": "anna@acme.example"})
    assert (begun.status_code, begun.json()["detail"]) == (200, "it begins")
    assert listed.json() == {"items": SAVED, "next": None}
    assert [each.WhichOneof("deed") for each in heard] == ["back_up_mail", "list_mail_backups"]
    assert heard[1].list_mail_backups.address == "anna@acme.example"
    for ask in (other_client.post(f"vps/{vps_id}/mail-backups:run"), other_client.get(f"vps/{vps_id}/mail-backups")):
        problem(await ask, 404, "not-found")
    problem(await rest_client.get(f"vps/{uuid.uuid4()}/mail-backups"), 404, "not-found")


async def test_backups_come_in_pages_the_oldest_first(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant
) -> None:
    vps_id = await make_server(hub.database, tenant)
    later = [{**SAVED[0], "id": each, "at": "2026-11-22T09:30:00Z"} for each in ("0a", "0b")]
    said = done(output=json.dumps([later[1], *SAVED, later[0]]))
    async with answering(hub, tenant, vps_id, *[said] * 4):
        assert await walked(rest_client, f"vps/{vps_id}/mail-backups") == [*SAVED, *later]


@pytest.mark.parametrize(
    "output", ["", "nonsense", '[{"id": 7}]', '[{"id": "7f", "at": "2026-11-21T09:30:00", "inbox": ""}]']
)
async def test_an_answer_that_is_no_list_is_said_so(
    rest_client: httpx.AsyncClient, hub: RunningHub, tenant: SomeTenant, output: str
) -> None:
    vps_id = await make_server(hub.database, tenant)
    async with answering(hub, tenant, vps_id, done(output=output)):
        problem(await rest_client.get(f"vps/{vps_id}/mail-backups"), 503, "unavailable")
