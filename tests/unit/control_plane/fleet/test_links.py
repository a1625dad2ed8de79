import uuid

from control_plane.fleet.links import session_id


def test_session_ids_of_one_hub_share_its_first_half_and_differ_in_the_second() -> None:
    hub = uuid.uuid5(uuid.NAMESPACE_URL, "penguin://here/10.77.0.1:7444")
    first, second = session_id(hub), session_id(hub)
    assert first.bytes[:8] == second.bytes[:8] == hub.bytes[:8]
    assert first != second
