import datetime as dt
import uuid

import cramjam
from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.metrics import METRICS, POSITION, Measured
from control_plane.monitoring.remote_series import Origin, write_request
from protos.prometheus.v1.remote_write_pb2 import WriteRequest

SERVER = uuid.uuid4()
AT = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
_VALUES = st.lists(st.none() | st.floats(allow_nan=False), min_size=len(METRICS), max_size=len(METRICS))


def read(body: bytes) -> list[tuple[dict[str, str], float, int]]:
    request = WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    return [
        ({label.name: label.value for label in series.labels}, sample.value, sample.timestamp)
        for series in request.timeseries
        for sample in series.samples
    ]


@given(_VALUES)
def test_each_value_that_a_report_says_is_one_sample_and_no_other(values: list[float | None]) -> None:
    row = Measured(SERVER, AT, values)
    told = read(write_request([row], {SERVER: Origin("a.example", "local", "here").series()}))
    assert [value for _, value, _ in told] == [value for value in values if value is not None]
    assert len(told) == row.samples


def test_a_sample_has_the_name_and_labels_that_a_scrape_of_the_fleet_gives() -> None:
    values: list[float | None] = [None] * len(METRICS)
    values[POSITION["deferred.google"]] = 7.0
    (sample,) = read(
        write_request([Measured(SERVER, AT, values)], {SERVER: Origin("a.example", "local", "here").series()})
    )
    assert sample == (
        {
            "__name__": "penguin_server_delivery_attempts_total",
            "destination": "google",
            "outcome": "deferred",
            "provider": "local",
            "region": "here",
            "server": "a.example",
        },
        7.0,
        1_893_456_000_000,
    )


def test_labels_are_in_the_order_of_their_names_and_samples_in_that_of_time() -> None:
    values: list[float | None] = [1.0, *([None] * (len(METRICS) - 1))]
    late, early = Measured(SERVER, AT, values), Measured(SERVER, AT - dt.timedelta(minutes=1), values)
    body = write_request([late, early], {SERVER: Origin("a.example", "local", "here").series()})
    told = read(body)
    assert [timestamp for _, _, timestamp in told] == [1_893_455_940_000, 1_893_456_000_000]
    assert all(list(labels) == sorted(labels) for labels, _, _ in told)
