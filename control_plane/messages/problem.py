"""What is wrong with one message of a batch: the fields of a problem (RFC 9457), kept as they are for a repetition."""

from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.errors import InvalidInput, PenguinError


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """One refused message; `errors` are pairs of a JSON pointer into the batch's body and what is wrong there."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[tuple[str, str], ...] = ()


def problem_of(error: PenguinError, place: int, parts: Sequence[tuple[str, str]] = ()) -> ItemProblem:
    """Return an error of the message at `place` as a problem; `parts` are its wrong parts when it names none itself."""
    if isinstance(error, InvalidInput) and error.field:
        parts = ((error.field, error.detail),)
    pointers = tuple((f"/messages/{place}{pointer}", detail) for pointer, detail in parts)
    return ItemProblem(f"/problems/{error.slug}", error.title, error.http_status, error.detail, pointers)
