import uuid
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from control_plane.pools.choice import address_for

_ADDRESSES = st.sets(st.uuids(), min_size=1, max_size=9)


@given(st.uuids(), _ADDRESSES)
def test_an_inbox_keeps_its_address_whatever_becomes_of_the_others(inbox: uuid.UUID, addresses: set[uuid.UUID]) -> None:
    chosen = address_for(inbox, addresses)

    assert chosen in addresses
    for other in addresses - {chosen}:
        assert address_for(inbox, addresses - {other}) == chosen


@given(st.uuids(), _ADDRESSES, st.uuids())
def test_a_new_address_takes_inboxes_to_itself_only(
    inbox: uuid.UUID, addresses: set[uuid.UUID], new: uuid.UUID
) -> None:
    assert address_for(inbox, addresses | {new}) in {address_for(inbox, addresses), new}


def test_inboxes_spread_over_the_addresses() -> None:
    addresses = [uuid.UUID(int=number) for number in range(4)]
    counted = Counter(address_for(uuid.UUID(int=1000 + number), addresses) for number in range(400))

    assert set(counted) == set(addresses)
    assert min(counted.values()) > 60


def test_without_addresses_it_is_the_servers_own() -> None:
    assert address_for(uuid.UUID(int=1), []) is None
