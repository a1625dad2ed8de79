"""What the local provider sells: the sizes that the product knows, as labels, and one region.

No limits are set on a local server; a size only says what it would be in a cloud.
"""

from dataclasses import dataclass

from control_plane.providers.base import ProviderError

_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Size:
    """Cores, memory and disk of one size, the last two in bytes."""

    cores: int
    memory_bytes: int
    disk_bytes: int


SIZES = {
    "starter": Size(cores=1, memory_bytes=2 * _GIB, disk_bytes=20 * _GIB),
    "professional": Size(cores=2, memory_bytes=4 * _GIB, disk_bytes=40 * _GIB),
    "business": Size(cores=4, memory_bytes=8 * _GIB, disk_bytes=80 * _GIB),
    "enterprise": Size(cores=8, memory_bytes=16 * _GIB, disk_bytes=160 * _GIB),
}
REGIONS: tuple[str, ...] = ("local",)


def size_of(name: str) -> Size:
    """Return a size; raise `ProviderError` when there is none of that name."""
    if name not in SIZES:
        raise ProviderError(f"unknown size {name!r}; known: {', '.join(SIZES)}")
    return SIZES[name]


def check_region(name: str) -> None:
    """Raise `ProviderError` when there is no such region."""
    if name not in REGIONS:
        raise ProviderError(f"unknown region {name!r}; known: {', '.join(REGIONS)}")
