"""Settings for mail programs: asked for, shown by the one server that has the domain's mailboxes, certified."""

import httpx
import pytest
from sqlalchemy import text

from control_plane.dns.generate import wanted_records
from control_plane.fleet import policies
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_server
from tests.integration.rest import problem
from tests.integration.shown_domain import Place, make_place


@pytest.fixture
async def place(system_database: Database, tenant: SomeTenant) -> Place:
    return await make_place(system_database, tenant)


async def _ask(client: httpx.AsyncClient, place: Place, *, wanted: bool = True) -> httpx.Response:
    return await client.patch(f"domains/{place.domain_id}", json={"client_settings": wanted})


async def _records(place: Place) -> set[tuple[str, str, str]]:
    """Return the records by which mail programs find settings."""
    async with place.database.system() as session:
        found = await wanted_records(session, place.domain_id)
    every = {(r.type, r.name, r.value) for records in found.values() for r in records}
    return {record for record in every if "auto" in record[1]}


async def test_a_domain_that_asks_gets_records_and_its_server_the_settings(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    before = await place.version()
    assert await _records(place) == set()
    answer = (await _ask(rest_client, place)).json()

    assert answer["client_settings"] is True
    assert await place.version() == before + 1
    assert (await place.shown()).client_settings
    assert await _records(place) == {
        ("A", "autoconfig", "127.0.0.1"),
        ("A", "autodiscover", "127.0.0.1"),
        ("SRV", "_autodiscover._tcp", f"0 1 443 autodiscover.{place.name}"),
    }
    await _ask(rest_client, place, wanted=False)
    assert (await place.version(), await _records(place)) == (before + 2, set())
    assert not (await place.shown()).client_settings


async def test_the_certificate_is_for_both_names_once_both_lead_to_the_server(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    await _ask(rest_client, place)
    await place.verify_records()
    assert (await place.shown()).client_settings_certified
    assert not (await place.shown()).mta_sts_certified
    assert not (await place.shown(authority=None)).client_settings_certified

    before = await place.version()
    drifted = "UPDATE dns_records SET verification_status = 'drifted' WHERE record_name = 'autodiscover'"
    async with place.database.system() as session:
        await session.execute(text(drifted))
    assert await place.version() == before + 1
    assert not (await place.shown()).client_settings_certified


async def test_a_domain_on_two_servers_has_none_for_no_answer_would_be_right_for_all(
    rest_client: httpx.AsyncClient, place: Place
) -> None:
    await _ask(rest_client, place)
    before, other = await place.version(), await make_server(place.database, place.tenant)
    await place.move_inbox_in(other)

    assert await place.version() > before
    assert [(await place.shown(vps_id)).client_settings for vps_id in (place.vps_id, other)] == [False, False]
    assert await _records(place) == set()
    async with place.database.system() as session:
        await session.execute(text("DELETE FROM inboxes WHERE id = :id"), {"id": place.inbox_id})
    assert (await place.shown(other)).client_settings


async def test_where_a_certificate_has_no_room_left_policies_come_first(
    rest_client: httpx.AsyncClient, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rest_client.patch(f"domains/{place.domain_id}", json={"client_settings": True, "mta_sts": "testing"})
    await place.verify_records()
    for room, expected in ((3, (True, True)), (2, (True, False)), (0, (False, False))):
        monkeypatch.setattr(policies, "MOST_CERTIFIED_NAMES", room)
        shown = await place.shown()
        assert (shown.mta_sts_certified, shown.client_settings_certified) == expected


async def test_nothing_but_yes_or_no_is_taken(rest_client: httpx.AsyncClient, place: Place) -> None:
    problem(
        await rest_client.patch(f"domains/{place.domain_id}", json={"client_settings": "yes"}), 422, "invalid-input"
    )


@pytest.mark.parametrize(
    "asked",
    [{"client_settings": True}, {"mta_sts": "testing"}, {"client_records": True}, {"tls_reports_to": "a@b.example"}],
)
async def test_a_domain_whose_name_leaves_no_room_for_another_label_gets_no_record_below_it(
    rest_client: httpx.AsyncClient, place: Place, asked: dict[str, str | bool]
) -> None:
    long = ".".join(["a" * 60] * 4) + ".example"
    async with place.database.system() as session:
        await session.execute(text("UPDATE domains SET name = :name"), {"name": long})
    before = await place.version()
    refused = await rest_client.patch(f"domains/{place.domain_id}", json=asked)

    assert "would be longer" in problem(refused, 422, "invalid-input")["detail"]
    assert await place.version() == before
