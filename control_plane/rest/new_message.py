"""A message as a client writes it, and the key under which a client may repeat a request."""

import hashlib
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field

from control_plane.messages.send_request import Idempotency, SendRequest
from control_plane.rest.message_views import PRIORITIES, PriorityName
from control_plane.rest.written_time import WrittenTime

_HeaderName = Annotated[str, Field(max_length=100)]
_HeaderValue = Annotated[str, Field(max_length=4000)]


class NewMessage(BaseModel):
    """A message to one recipient; text, html or both."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(max_length=320)
    subject: str = Field("", max_length=998)
    text: str | None = None
    html: str | None = None
    headers: dict[_HeaderName, _HeaderValue] = Field(
        default_factory=dict, max_length=50, description="Reply-To, In-Reply-To, References, List-* and X-*."
    )
    priority: PriorityName = "normal"
    send_at: WrittenTime | None = Field(None, description="Not before this moment; with an offset from UTC.")

    def as_request(self) -> SendRequest:
        """Return what the messages package takes."""
        return SendRequest(
            to=self.to,
            subject=self.subject,
            text=self.text,
            html=self.html,
            headers=tuple(self.headers.items()),
            priority=PRIORITIES[self.priority],
            send_at=self.send_at,
        )


async def request_idempotency(
    request: Request,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")] = None,
) -> Idempotency | None:
    """Return the key that a request for messages came with, and what the request was."""
    if idempotency_key is None:
        return None
    digest = hashlib.sha256(f"{request.method} {request.url.path}\n".encode())
    digest.update(await request.body())
    return Idempotency(idempotency_key, digest.digest())


#: The same request under the same Idempotency-Key gives the same answer; another one under it is refused with 422.
RequestKey = Annotated[Idempotency | None, Depends(request_idempotency)]
