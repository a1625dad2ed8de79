"""Pages of what is listed by time. A page begins behind a place: the moment and the key of the last row before it."""

import datetime as dt
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

Place = tuple[dt.datetime, object]
_Query = TypeVar("_Query", bound=Select[Any])


def newest_first(
    query: _Query, moment: InstrumentedAttribute[dt.datetime], key: InstrumentedAttribute[Any], after: Place | None
) -> _Query:
    """Return the query's rows from behind the place, the newest first; those of one moment by their keys."""
    ordered = query.order_by(moment.desc(), key.desc())
    return ordered if after is None else ordered.where(tuple_(moment, key) < _values(moment, key, after))


def oldest_first(
    query: _Query, moment: InstrumentedAttribute[dt.datetime], key: InstrumentedAttribute[Any], after: Place | None
) -> _Query:
    """Return the query's rows from behind the place, the oldest first; those of one moment by their keys."""
    ordered = query.order_by(moment, key)
    return ordered if after is None else ordered.where(tuple_(moment, key) > _values(moment, key, after))


def _values(
    moment: InstrumentedAttribute[dt.datetime], key: InstrumentedAttribute[Any], place: Place
) -> ColumnElement[Any]:
    return tuple_(literal(place[0], moment.type), literal(place[1], key.type))
