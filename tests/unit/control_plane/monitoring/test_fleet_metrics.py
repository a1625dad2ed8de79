import math

from hypothesis import given
from hypothesis import strategies as st

from control_plane.monitoring.fleet_metrics import ServerValues, metric_sample, render
from control_plane.monitoring.metrics import METRICS
from tests.openmetrics import families_of

_NAMES = st.text(max_size=20).filter(lambda text: "\r" not in text)
_SERVERS = st.builds(
    ServerValues,
    hostname=_NAMES,
    provider=_NAMES,
    region=_NAMES,
    reachable=st.booleans(),
    state=st.sampled_from(["ok", "warn", "fail", "unknown"]),
    measured=st.lists(st.none() | st.floats(0, 2**53), max_size=len(METRICS)),
)


@given(st.lists(_SERVERS, unique_by=lambda server: server.hostname, max_size=4))
def test_every_fleet_is_openmetrics_and_each_value_is_told_once(servers: list[ServerValues]) -> None:
    families = families_of(render(servers))
    assert len(families["penguin_server_up"].samples) == len(servers)
    told = {
        (sample.labels["server"], sample.name, sample.labels.get("destination"), sample.labels.get("outcome")): sample
        for family in families.values()
        for sample in family.samples
    }
    for server in servers:
        for metric, value in zip(METRICS, server.measured, strict=False):
            name, labels = metric_sample(metric)
            sample = told.get((server.hostname, name, labels.get("destination"), labels.get("outcome")))
            assert (sample is None) == (value is None)
            assert sample is None or value is None or math.isclose(sample.value, value)
