"""For a zone that its owner writes by hand: nothing is written, and nothing there is ours to take away."""

from collections.abc import Collection

from control_plane.dns.plan import Blend, ZonePlan
from control_plane.dns.records import DnsRecord


class ManualPublisher:
    """Plans nothing. What has to be there is shown and verified as everywhere."""

    def plan(
        self,
        zone: str,
        wanted: Collection[DnsRecord],  # noqa: ARG002 - as every publisher
        written: Collection[DnsRecord],  # noqa: ARG002
        blended: Collection[Blend] = (),  # noqa: ARG002
    ) -> ZonePlan:
        """Return a plan without changes."""
        return ZonePlan(zone, (), (), frozenset(), None)

    def apply(self, plan: ZonePlan) -> None:
        """Do nothing: there is never anything to do."""
