"""Lists in pages: each page says in `next` what to send as `after` for the one that follows."""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request

from control_plane.rest.access import Presented
from control_plane.rest.cursors import Cursors, Listing

DEFAULT_PAGE = 100
MAX_PAGE = 500
LONGEST_CURSOR = 1500

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
After = Annotated[str | None, Query(max_length=LONGEST_CURSOR, description="`next` of the page before.")]

#: Parameters that are no filters: a list may go on in larger pages, and with other fields.
_NO_FILTERS = frozenset({"after", "limit", "fields"})

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class ListPage:
    """The page that is asked for: what comes after `place`, and `limit` of it at most."""

    listing: Listing
    place: str | None
    limit: int

    @property
    def after(self) -> uuid.UUID | None:
        """The id of the last thing on the page before, for lists whose places are ids."""
        return None if self.place is None else uuid.UUID(self.place)

    def behind(self, key: Callable[[str], _Key]) -> tuple[dt.datetime, _Key] | None:
        """Return the moment and the key of the last thing on the page before, for lists by time (`in_time`)."""
        if self.place is None:
            return None
        moment, _, written = self.place.partition(" ")
        return dt.datetime.fromisoformat(moment), key(written)

    def next_after(self, places: Sequence[object]) -> str | None:
        """Return the cursor to behind these; None when they are no full page."""
        return self.listing.cursor(places[-1]) if len(places) == self.limit else None


def in_time(moment: dt.datetime, key: object) -> str:
    """Return the place of a thing in a list by time."""
    return f"{moment.isoformat()} {key}"


def cursors_of(request: Request) -> Cursors:
    """Return what writes and reads the door's cursors."""
    cursors: Cursors = request.app.state.cursors
    return cursors


def listing_of(request: Request, whose: object) -> Listing:
    """Return the list that a request with the cursor in its query asks for."""
    filters = sorted(pair for pair in request.query_params.multi_items() if pair[0] not in _NO_FILTERS)
    return Listing.named(cursors_of(request), [str(whose), request.url.path, filters], "query/after")


def listing_of_body(request: Request, whose: object, filters: str) -> Listing:
    """Return the list that a request with the cursor in its body asks for; `filters` is what else the body says."""
    return Listing.named(cursors_of(request), [str(whose), request.url.path, filters], "/after")


def page_of(listing: Listing, after: str | None, limit: int) -> ListPage:
    """Return the page; raise `InvalidCursor`."""
    return ListPage(listing, None if after is None else listing.place(after), limit)


async def _tenants_page(
    request: Request, presented: Presented, after: After = None, limit: Limit = DEFAULT_PAGE
) -> ListPage:
    return page_of(listing_of(request, presented.tenant_id), after, limit)


async def _operators_page(request: Request, after: After = None, limit: Limit = DEFAULT_PAGE) -> ListPage:
    return page_of(listing_of(request, "operators"), after, limit)


#: For a route of the tenants' door, behind what says who asks: whoever may not ask is told that first.
TenantsPage = Annotated[ListPage, Depends(_tenants_page)]
#: The same at the operators' door.
OperatorsPage = Annotated[ListPage, Depends(_operators_page)]
