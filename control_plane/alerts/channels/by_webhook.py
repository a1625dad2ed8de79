"""Tell by a signed webhook, as tenants' webhooks are (Standard Webhooks, symmetric)."""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from typing import Any

from control_plane.webhooks.attempt import Answer, Poster
from control_plane.webhooks.signing import signed_headers


async def tell(  # noqa: PLR0917 - what is told, by whom, when
    poster: Poster, url: str, secret: str, notice_id: uuid.UUID, at: dt.datetime, told: Mapping[str, Any]
) -> Answer:
    """Tell once under the notice's id, and return what came of it."""
    body = json.dumps({"id": str(notice_id), "timestamp": at.isoformat(), **told}, separators=(",", ":"))
    headers = {"content-type": "application/json", "user-agent": "PenguinMails-Alerts/1"}
    return await poster.post(url, body.encode(), {**headers, **signed_headers(notice_id, at, body, [secret])})
