import dataclasses

import pytest

from control_plane.providers.base import ProviderError, ServerOrder
from control_plane.providers.local.inventory import check_order

ORDER = ServerOrder("vps-1", "vps-1.penguin.example", "starter", "local", "#cloud-config\n", ())


def test_an_ordinary_order_is_taken() -> None:
    check_order(ORDER)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (dataclasses.replace(ORDER, size="huge"), "unknown size 'huge'; known: starter"),
        (dataclasses.replace(ORDER, region="mars"), "unknown region 'mars'; known: local"),
        (dataclasses.replace(ORDER, name="../up"), "invalid name"),
        (dataclasses.replace(ORDER, name="a\n"), "invalid name"),
        (dataclasses.replace(ORDER, name="a" * 64), "invalid name"),
        (dataclasses.replace(ORDER, name=""), "invalid name"),
        (dataclasses.replace(ORDER, hostname="short"), "invalid hostname"),
        (dataclasses.replace(ORDER, hostname="a.example\nnameserver 1.1.1.1"), "invalid hostname"),
        (dataclasses.replace(ORDER, hostname=f"{'a' * 60}.example"), "invalid hostname"),
        (dataclasses.replace(ORDER, user_data="\u00e4" * 16385), "larger than 32 KiB"),
    ],
)
def test_what_no_cloud_would_take_is_refused_with_the_reason(order: ServerOrder, reason: str) -> None:
    with pytest.raises(ProviderError, match=reason):
        check_order(order)
