"""Which statements a request makes, instead of how long it takes.

Whether something exists shows in time where more is done for it than for what does not. On a machine that others use
too, a difference of one statement drowns in noise, and a bound wide enough not to be noise sees nothing; the list of
statements shows the same difference, each time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

#: What is done once a minute, whatever is asked for.
_NOW_AND_THEN = ("last_used_at = now()",)


class Statements:
    """What the process asks of PostgreSQL; of one request where one is made at a time."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def note(self, query: object) -> None:
        """Note one."""
        text = query.decode() if isinstance(query, bytes) else str(query)
        if not any(each in text for each in _NOW_AND_THEN):
            self._made.append(text)

    def taken(self) -> list[str]:
        """Return what was noted since this was asked."""
        made, self._made = self._made, []
        return made


@contextmanager
def noted_statements() -> Iterator[Statements]:
    """Note all statements of psycopg's asynchronous connections, under SQLAlchemy and beside it."""
    noted = Statements()
    execute = psycopg.AsyncCursor.execute

    async def noting(self: Any, query: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as it comes
        noted.note(query)
        return await execute(self, query, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", noting)
        yield noted
