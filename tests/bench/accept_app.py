"""The product's api process with two more routes: one takes a message and does nothing with it, one takes nothing."""

import datetime as dt
import uuid

from fastapi import FastAPI

from control_plane.processes.rest_server import serve
from control_plane.rest.app import make_app
from control_plane.rest.new_message import NewMessage
from control_plane.settings import Settings


def with_idle_routes(app: FastAPI) -> FastAPI:
    """Add the routes; they go through all middleware of the others."""

    async def take(inbox_id: uuid.UUID, body: NewMessage) -> dict[str, str]:
        request = body.as_request()
        now = dt.datetime.now(dt.UTC).isoformat()
        return {
            "id": str(inbox_id),
            "state": "accepted",
            "message_id": f"<{inbox_id}@{request.to.partition('@')[2]}>",
            "accepted_at": now,
            "send_at": now,
        }

    async def nothing() -> dict[str, str]:
        return {"status": "ok"}

    app.post("/bench/inboxes/{inbox_id}/messages", status_code=202)(take)
    app.get("/bench/nothing")(nothing)
    return app


def main() -> None:
    """Serve until told to end, as control_plane/processes/api.py does."""
    settings = Settings.model_validate({})
    serve(with_idle_routes(make_app(settings)), settings)


if __name__ == "__main__":
    main()
