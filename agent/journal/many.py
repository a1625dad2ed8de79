"""Statements over many rows at once, of few different lengths, so that SQLite keeps them prepared.

Each run of a statement lets go of Python's lock and waits for it again, which under load costs more than the row does.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")

_MOST = 32


def run_for_all(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], *more: object
) -> list[tuple[Any, ...]]:
    """Run `statement` for rows of equal length, and return what it returns.

    Its one %s, after VALUES or IN, becomes their place holders; `more` are the values of those that follow.
    """
    returned: list[tuple[Any, ...]] = []
    for piece in pieces(rows):
        values = [value for row in piece for value in row]
        returned += connection.execute(statement % row_marks(len(piece), len(piece[0])), (*values, *more)).fetchall()
    return returned


def pieces(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return `values` in pieces, each of a power of two up to 32."""
    start = 0
    while left := len(values) - start:
        size = min(_MOST, 1 << left.bit_length() - 1)
        yield values[start : start + size]
        start += size


@lru_cache(maxsize=32)
def row_marks(rows: int, columns: int) -> str:
    """Return the place holders of so many rows, to stand after VALUES or IN."""
    row = ", ".join("?" * columns)
    return ", ".join([f"({row})"] * rows) if columns > 1 else f"({', '.join('?' * rows)})"
