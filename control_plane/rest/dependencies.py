"""Look into routes: what they depend on, however deep."""

from collections.abc import Iterator

from fastapi.dependencies.models import Dependant


def calls_of(dependant: Dependant) -> Iterator[object]:
    """Yield everything that is called before the route is, and what that in turn depends on."""
    for each in dependant.dependencies:
        yield each.call
        yield from calls_of(each)
