"""A page for each problem `type`: what it means, for whoever follows the link. Public, and plain text."""

from collections.abc import Iterator
from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

from control_plane.errors import NotFound, PenguinError

#: Not part of the API, so not in its OpenAPI document.
router = APIRouter(prefix="/problems", include_in_schema=False, default_response_class=PlainTextResponse)

#: What the framework answers itself.
_OF_THE_FRAMEWORK = (HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.REQUEST_TIMEOUT)


def _kinds(kind: type[PenguinError]) -> Iterator[type[PenguinError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def pages() -> dict[str, str]:
    """Return each problem's page by the last part of its `type`."""
    told = {
        status.phrase.lower().replace(" ", "-"): f"{status.description}. (HTTP {status.value})"
        for status in _OF_THE_FRAMEWORK
    }
    for kind in _kinds(PenguinError):
        told.setdefault(kind.slug, f"{(kind.__doc__ or '').strip().splitlines()[0]} (HTTP {kind.http_status})")
    return dict(sorted(told.items()))


@router.get("")
async def list_all() -> str:
    """List all problems."""
    return "".join(f"/problems/{slug}\n    {words}\n" for slug, words in pages().items())


@router.get("/{slug}")
async def show(slug: str) -> str:
    """Say what a problem means."""
    if (words := pages().get(slug)) is None:
        raise NotFound("There is no such problem.")
    return f"{words}\n\nThe answer's `detail` says what is wrong and how to go on; `request_id` leads us to it.\n"
