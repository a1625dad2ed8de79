"""Errors as gRPC statuses: the code of the error, its sentence as the status's text, and its slug as trailing metadata.

The code is a contract (protos): agents map it to what they do next.
"""

from typing import NoReturn

import grpc
from grpc.aio import ServicerContext

from control_plane.errors import PenguinError, Unavailable

#: Trailing metadata key of the error's slug.
REASON = "penguin-reason"


async def refuse(context: "ServicerContext[object, object]", error: PenguinError) -> NoReturn:
    """End the call with the error's status."""
    await context.abort(grpc.StatusCode[error.grpc_code], error.detail, ((REASON, error.slug),))


def database_away() -> Unavailable:
    """Return what a caller is told while PostgreSQL is away."""
    return Unavailable("the database is away")
