import datetime as dt

from control_plane.clock import utc_now
from control_plane.people.signing_keys import ROTATED_AFTER, KeyRing, rotate_when_due
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database
from tests.integration.database import FreshDatabase
from tests.integration.people.visitor import Visitor


async def test_a_key_that_has_signed_for_thirty_days_is_followed_by_another_once(
    anna: Visitor, database: FreshDatabase, people_settings: Settings
) -> None:
    system, sealer = (
        Database(database.url("penguin_system"), pool_size=1),
        Sealer.of_file(people_settings.sealing_key_file),
    )
    due = utc_now() + ROTATED_AFTER + dt.timedelta(minutes=1)
    made = []
    for now in (utc_now(), due, due + dt.timedelta(hours=1)):
        async with system.system() as session:
            made.append(await rotate_when_due(session, sealer, now))
    assert [each is not None for each in made] == [False, True, False]
    # What was signed before is trusted on.
    assert (await anna.get("auth/me")).status_code == 200
    anna.app.state.parts.people.keys._read_at = None
    assert len((await anna.get("auth/jwks.json")).json()["keys"]) == 2
    await system.close()


async def test_the_first_key_is_known_at_once_to_a_process_that_has_just_seen_none_and_whose_clock_is_behind(
    database: FreshDatabase, people_settings: Settings
) -> None:
    identity, now = Database(database.url("penguin_identity"), pool_size=1), utc_now()
    sealer = Sealer.of_file(people_settings.sealing_key_file)
    first = KeyRing(identity, sealer, lambda: now)
    other = KeyRing(identity, sealer, lambda: now - dt.timedelta(milliseconds=500))
    assert list(await other.published()) == []
    key = await first.signing()
    assert await other.trusted(key.id) == key.public
    assert (await other.signing()).id == key.id
    await identity.close()
