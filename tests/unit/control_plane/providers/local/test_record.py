import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from control_plane.providers.base import SIZES, PowerState
from control_plane.providers.local.record import Leader, ServerRecord

records = st.builds(
    ServerRecord,
    provider_id=st.uuids().map(str),
    name=st.text(),
    hostname=st.text(),
    address=st.ip_addresses(v=4),
    size=st.sampled_from(sorted(SIZES)),
    region=st.just("local"),
    labels=st.lists(st.tuples(st.text(), st.text())).map(tuple),
    wanted=st.sampled_from(PowerState),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: ServerRecord) -> None:
    adapter = TypeAdapter(ServerRecord)
    assert adapter.validate_json(adapter.dump_json(record)) == record


def test_a_server_shows_its_size_address_power_and_labels() -> None:
    record = ServerRecord(
        provider_id="id",
        name="vps-1",
        hostname="vps-1.penguin.example",
        address=ipaddress.IPv4Address("10.77.1.1"),
        size="professional",
        region="local",
        labels=(("penguin/vps-id", "1"),),
        wanted=PowerState.RUNNING,
    )
    server = record.as_server(PowerState.OFF)
    assert (server.ipv4_address, server.cores, server.power) == ("10.77.1.1", 2, PowerState.OFF)
    assert server.labels == (("penguin/vps-id", "1"),)


STAT = "42 (a ) (b) {} 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 1 18446744073709551615"


def test_a_process_with_spaces_and_parentheses_in_its_name_is_told_by_its_start_time() -> None:
    assert Leader.in_stat(42, STAT.format("S")) == Leader(42, 987654)


def test_a_process_that_has_ended_is_none_even_before_it_is_reaped() -> None:
    assert Leader.in_stat(42, STAT.format("Z")) is None


def test_a_process_that_is_gone_is_not_alive() -> None:
    assert not Leader(pid=2**22 + 1, start_time=1).is_alive()
