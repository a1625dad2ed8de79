"""Whether this process can serve: it can when the database answers and it was not told to end."""

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text

from control_plane.errors import Unavailable
from db.session import Database

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The process can serve."""

    status: str = "ok"


@router.get("/healthz")
async def healthz(request: Request) -> Health:
    """Answer 200 when the database answers, and 503 when it does not or the process is about to end."""
    if request.app.state.stopping:
        raise Unavailable("this process is about to end")
    database: Database = request.app.state.database
    async with database.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return Health()
