"""What the local provider sells: the sizes that the product knows, as labels, and one region.

No limits are set on a local server; a size only says what it would be in a cloud.
"""

from control_plane.providers.base import SIZES, ProviderError, Size

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
