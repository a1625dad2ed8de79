"""Where a list of servers goes on that has the worst first: behind how grave it is with one, and its name."""

from control_plane.monitoring.fleet import Fleet
from control_plane.rest.pages import ListPage


def behind(page: ListPage) -> tuple[int, str] | None:
    """Return the rank of the last server on the page before."""
    if page.place is None:
        return None
    gravity, _, hostname = page.place.partition(" ")
    return int(gravity), hostname


def next_of(page: ListPage, fleet: Fleet) -> str | None:
    """Return the cursor to behind these servers."""
    return page.next_after([" ".join(map(str, server.rank)) for server in fleet.servers])
