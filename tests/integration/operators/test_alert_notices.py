"""Who is told of alerts: notices, silences, outages, escalation, channels; over real HTTP to a receiver of our own."""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

import httpx
import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from control_plane.alerts.channels.channels import NewChannel
from control_plane.alerts.notices import ENOUGH_FOR_OUTAGE, write_notices
from control_plane.alerts.outbox import CLAIM_LIFE
from control_plane.alerts.silences import Silenced, end_silence, silence
from control_plane.alerts.teller import Teller
from control_plane.clock import utc_now
from control_plane.errors import InvalidInput
from control_plane.operators import alerting
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.webhooks.attempt import Poster
from db.ids import uuid7
from db.session import Database
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server
from tests.integration.operators.door import TESTER
from tests.integration.webhooks.receiver import Receiver, receiving

NOW = utc_now()
MINUTE = dt.timedelta(minutes=1)


class Hand:
    """Clock and teller of one test."""

    def __init__(self, database: Database, sealer: Sealer, poster: Poster) -> None:
        self.database = database
        self.sealer = sealer
        self.now = NOW
        self.teller = Teller(database, sealer, poster, clock=lambda: self.now, dice=lambda: 0.0)

    async def tell(self, after: dt.timedelta = dt.timedelta(0)) -> None:
        self.now = NOW + after
        async with self.database.system() as session:
            await write_notices(["unreachable"], session, self.now)
        while await self.teller.tell_due():
            pass

    async def channel(self, name: str, port: int, *, after_minutes: int = 0, severity: str = "warning") -> str:
        new = NewChannel(name, "webhook", f"http://127.0.0.1:{port}/hook", severity, after_minutes)
        async with self.database.system() as session:
            _, secret = await alerting.add_channel(session, TESTER, self.sealer, new)
        assert secret is not None
        return secret

    async def alert(self, vps_id: uuid.UUID, rule: str = "unreachable", at: dt.datetime = NOW) -> uuid.UUID:
        alert_id = uuid7()
        statement = text(
            "INSERT INTO alerts (id, tenant_id, vps_id, rule, severity, state, sentence, since, opened_at)"
            " SELECT :id, tenant_id, id, :rule, 'critical', 'open', 'It is silent.', :at, :at FROM vps_servers"
            " WHERE id = :vps"
        )
        async with self.database.system() as session:
            await session.execute(statement, {"id": alert_id, "vps": vps_id, "rule": rule, "at": at})
        return alert_id

    async def resolve(self) -> None:
        async with self.database.system() as session:
            statement = text("UPDATE alerts SET state = 'resolved', resolved_at = :now")
            await session.execute(statement, {"now": self.now})


@pytest.fixture
async def hand(system_database: Database, rest_settings: Settings) -> AsyncIterator[Hand]:
    async with aclosing(Poster(private_targets=True, timeout_seconds=2)) as poster:
        yield Hand(system_database, Sealer.of_file(rest_settings.sealing_key_file), poster)


@pytest.fixture
async def vps_id(system_database: Database, tenant: SomeTenant) -> uuid.UUID:
    return await make_server(system_database, tenant)


def told(receiver: Receiver) -> list[str]:
    return [json.loads(got.body)["type"] for got in receiver.got]


async def test_an_alert_is_told_once_signed_and_its_end_too(hand: Hand, vps_id: uuid.UUID) -> None:
    async with receiving() as receiver:
        secret = await hand.channel("pager", receiver.port)
        await hand.alert(vps_id)
        for minutes in (0, 1, 2):
            await hand.tell(minutes * MINUTE)
        assert told(receiver) == ["alert.opened"]
        [got] = receiver.got
        assert Webhook(secret).verify(got.body, got.headers)["data"]["vps_id"] == str(vps_id)
        await hand.resolve()
        await hand.tell(3 * MINUTE)
        await hand.tell(4 * MINUTE)
        assert told(receiver) == ["alert.opened", "alert.resolved"]


async def test_what_a_channel_does_not_take_is_told_again_and_the_end_comes_after_it(
    hand: Hand, vps_id: uuid.UUID
) -> None:
    answers = ["500 No", "500 No", "200 OK", "200 OK"]
    async with receiving(lambda _: answers.pop(0)) as receiver:
        await hand.channel("pager", receiver.port)
        await hand.alert(vps_id)
        await hand.tell()
        await hand.resolve()
        await hand.tell(dt.timedelta(seconds=1))
        assert told(receiver) == ["alert.opened"]
        await hand.tell(5 * MINUTE)
        await hand.tell(30 * MINUTE)
        assert told(receiver) == ["alert.opened", "alert.opened", "alert.opened", "alert.resolved"]
        assert len({json.loads(got.body)["id"] for got in receiver.got[:3]}) == 1


async def test_what_a_dead_worker_had_in_hand_is_told_by_another(hand: Hand, vps_id: uuid.UUID) -> None:
    async with receiving() as receiver:
        await hand.channel("pager", receiver.port)
        await hand.alert(vps_id)
        async with hand.database.system() as session:
            await write_notices(["unreachable"], session, NOW)
            claimed = text("UPDATE alert_notices SET claim_token = gen_random_uuid(), due_at = :due")
            await session.execute(claimed, {"due": NOW + CLAIM_LIFE})
        await hand.tell()
        assert told(receiver) == []
        await hand.tell(CLAIM_LIFE)
        assert told(receiver) == ["alert.opened"]


async def test_what_nobody_acknowledges_goes_to_the_next_channel_and_what_somebody_does_does_not(
    hand: Hand, vps_id: uuid.UUID
) -> None:
    async with receiving() as first, receiving() as second:
        await hand.channel("first", first.port)
        await hand.channel("second", second.port, after_minutes=15)
        await hand.alert(vps_id)
        await hand.tell()
        await hand.tell(14 * MINUTE)
        assert (told(first), told(second)) == (["alert.opened"], [])
        await hand.tell(15 * MINUTE)
        assert told(second) == ["alert.escalated"]
        seen = await hand.alert(vps_id, "disk", NOW + 16 * MINUTE)
        await hand.tell(17 * MINUTE)
        async with hand.database.system() as session:
            await alerting.acknowledge(session, TESTER, seen, hand.now)
        await hand.tell(60 * MINUTE)
        assert (told(first), told(second)) == (["alert.opened", "alert.opened"], ["alert.escalated"])


async def test_what_is_silenced_is_told_when_the_silence_is_over(
    hand: Hand, tenant: SomeTenant, vps_id: uuid.UUID, system_database: Database
) -> None:
    other = await make_server(system_database, tenant)
    async with receiving() as receiver:
        await hand.channel("pager", receiver.port)
        async with hand.database.system() as session:
            silenced = partial(silence, session, rules={"unreachable", "disk"}, reason="known", by="me", now=NOW)
            made = await silenced(Silenced(vps_id=vps_id, rule="unreachable"), NOW + 10 * MINUTE)
            await silenced(Silenced(vps_id=other, rule="disk"), NOW + 99 * MINUTE)
        await hand.alert(vps_id)
        await hand.alert(other)
        await hand.alert(other, "disk")
        await hand.tell()
        assert [json.loads(got.body)["data"]["vps_id"] for got in receiver.got] == [str(other)]
        await hand.tell(10 * MINUTE)
        assert len(receiver.got) == 2
        async with hand.database.system() as session:
            await end_silence(session, made.id)
        await hand.tell(99 * MINUTE)
        assert len(receiver.got) == 3


async def test_a_silence_names_something_that_there_is(hand: Hand) -> None:
    for what in (Silenced(), Silenced(rule="mood")):
        async with hand.database.system() as session:
            with pytest.raises(InvalidInput):
                await silence(session, what, NOW + MINUTE, rules={"disk"}, reason="why", by="me", now=NOW)


async def test_many_dead_servers_of_one_region_are_one_outage(
    hand: Hand, tenant: SomeTenant, system_database: Database
) -> None:
    servers = [await make_server(system_database, tenant) for _ in range(ENOUGH_FOR_OUTAGE + 2)]
    async with receiving() as receiver:
        await hand.channel("pager", receiver.port)
        for vps_id in servers[:-1]:
            await hand.alert(vps_id)
        await hand.tell()
        await hand.alert(servers[-1], at=NOW + MINUTE)
        await hand.tell(MINUTE)
        assert told(receiver) == ["alert.outage"]
        assert json.loads(receiver.got[0].body)["data"]["servers"] == ENOUGH_FOR_OUTAGE + 1
        await hand.resolve()
        await hand.tell(2 * MINUTE)
        assert told(receiver) == ["alert.outage", "alert.outage_over"]


async def test_no_channel_leads_through_the_fleet(
    hand: Hand, tenant: SomeTenant, vps_id: uuid.UUID, system_database: Database
) -> None:
    inbox = await make_inbox(system_database, tenant, vps_id)
    async with system_database.system() as session:
        address = await session.scalar(text("SELECT host(ip_address) FROM vps_servers"))
        hostname = await session.scalar(text("SELECT hostname FROM vps_servers"))
        domain = await session.scalar(text("SELECT name FROM domains WHERE id = (SELECT domain_id FROM inboxes)"))
    assert inbox.vps_id == vps_id
    for kind, url in (
        ("webhook", f"http://{address}/hook"),
        ("apprise", f"mailto://user:password@{hostname}"),
        ("apprise", f"mailto://user:password@elsewhere.invalid?smtp={address}"),
        ("apprise", f"mailto://user:password@elsewhere.invalid?to=ops@{domain}"),
    ):
        new = NewChannel("bad", kind, url)  # type: ignore[arg-type]  # one of the two
        with pytest.raises(InvalidInput, match="fleet"):
            async with system_database.system() as session:
                await alerting.add_channel(session, TESTER, hand.sealer, new)


async def test_a_channel_whose_host_becomes_one_of_ours_is_not_told(hand: Hand, vps_id: uuid.UUID) -> None:
    async with receiving() as receiver:
        await hand.channel("pager", receiver.port)
        await hand.alert(vps_id)
        async with hand.database.system() as session:
            await session.execute(text("UPDATE vps_servers SET ip_address = '127.0.0.1'"))
        await hand.tell()
        assert receiver.got == []
        async with hand.database.system() as session:
            error = await session.scalar(text("SELECT last_error FROM alert_notices"))
        assert "fleet" in str(error)


async def test_apprise_tells_too_and_its_url_is_nowhere_to_be_read(hand: Hand, vps_id: uuid.UUID) -> None:
    async with receiving() as receiver:
        new = NewChannel("chat", "apprise", f"json://user:hush@127.0.0.1:{receiver.port}/")
        async with hand.database.system() as session:
            await alerting.add_channel(session, TESTER, hand.sealer, new)
            sealed = bytes(await session.scalar(text("SELECT target_sealed FROM alert_channels")))
        await hand.alert(vps_id)
        await hand.tell()
        assert "unreachable" in json.loads(receiver.got[0].body)["title"]
    assert b"hush" not in sealed
    assert "hush" not in repr(new)


async def test_the_operators_door_makes_tries_and_removes_channels_and_silences(
    hand: Hand, operator: httpx.AsyncClient, vps_id: uuid.UUID
) -> None:
    async with receiving() as receiver:
        body = {"name": "pager", "kind": "webhook", "url": f"http://127.0.0.1:{receiver.port}/"}
        made = (await operator.post("alerts/channels", json=body)).json()
        assert made["secret"].startswith("whsec_")
        assert (await operator.post("alerts/channels", json=body)).status_code == 409
        shown = (await operator.get("alerts/channels")).json()["items"]
        assert [each["name"] for each in shown] == ["pager"]
        assert str(receiver.port) not in json.dumps(shown)
        assert (await operator.post("alerts/channels/pager:test")).status_code == 202
        async with asyncio.timeout(5):
            # A try is due when it was asked for, by the database's clock.
            await hand.tell(utc_now() - NOW + MINUTE)
        assert told(receiver) == ["alert.test"]
    until = (utc_now() + dt.timedelta(hours=1)).isoformat()
    made = (
        await operator.post("alerts/silences", json={"vps_id": str(vps_id), "until": until, "reason": "moved"})
    ).json()
    assert [each["id"] for each in (await operator.get("alerts/silences")).json()["items"]] == [made["id"]]
    assert (await operator.delete(f"alerts/silences/{made['id']}")).status_code == 204
    alert_id = await hand.alert(vps_id, "disk")
    assert (await operator.post(f"alerts/{alert_id}:acknowledge")).json()["state"] == "acknowledged"
    assert (await operator.delete("alerts/channels/pager")).status_code == 204
    acts = [each["act"] for each in (await operator.get("acts")).json()["items"]]
    assert acts[:6] == [
        "alert-channel.remove",
        "alert.acknowledge",
        "alert.end-silence",
        "alert.silence",
        "alert-channel.test",
        "alert-channel.add",
    ]
