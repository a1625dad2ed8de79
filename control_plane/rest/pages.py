"""Lists in pages: ordered by id, from the one after the last that the caller has."""

import uuid
from typing import Annotated

from fastapi import Query

DEFAULT_PAGE = 100
MAX_PAGE = 500

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
After = Annotated[uuid.UUID | None, Query()]


def next_after(ids: list[uuid.UUID], limit: int) -> uuid.UUID | None:
    """Return what to ask for next, or None when a page was not full."""
    return ids[-1] if len(ids) == limit else None
