"""Read what `/metrics` answers as Prometheus' own library reads it."""

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families


def families_of(text: str) -> dict[str, Metric]:
    """Return the families by name; raise `ValueError` for what is not OpenMetrics."""
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call] # the library's own
    return {family.name: family for family in families}
