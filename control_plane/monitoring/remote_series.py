"""Values of reports as series of Prometheus, by the names and labels that `fleet_metrics` shows them under. Pure."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cramjam

from control_plane.monitoring.fleet_metrics import metric_sample
from control_plane.monitoring.metrics import METRICS, Measured
from protos.prometheus.v1.remote_write_pb2 import Label, Sample, TimeSeries, WriteRequest


@dataclass(frozen=True, slots=True)
class Origin:
    """What a server's series are labelled with."""

    hostname: str
    provider: str
    region: str

    def series(self) -> list[bytes]:
        """Return each metric's series without samples, in the order of `METRICS`, as they go over the wire."""
        own = {"server": self.hostname, "provider": self.provider, "region": self.region}
        found = []
        for metric in METRICS:
            name, labels = metric_sample(metric)
            named = sorted({"__name__": name, **own, **labels}.items())
            series = TimeSeries(labels=[Label(name=name, value=value) for name, value in named])
            found.append(series.SerializeToString())
        return found


def write_request(rows: Sequence[Measured], series: Mapping[uuid.UUID, Sequence[bytes]]) -> bytes:
    """Return the body of a request with these rows, of each server the oldest first; all servers are in `series`."""
    request = WriteRequest()
    for row in sorted(rows, key=lambda row: row.at):
        timestamp = int(row.at.timestamp() * 1000)
        for labelled, value in zip(series[row.vps_id], row.values, strict=True):
            if value is not None:
                one = request.timeseries.add()
                one.MergeFromString(labelled)
                one.samples.append(Sample(value=value, timestamp=timestamp))
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
