"""What a mail program needs to work with an inbox: its password, and where its servers are."""

import re
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response, status
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from control_plane.errors import Conflict
from control_plane.inboxes.load import load_inbox
from control_plane.inboxes.passwords import generate_password
from control_plane.provisioning.new_password import change_password
from control_plane.rest.access import Access, transaction
from control_plane.rest.resource_route import ResourceRoute
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/inboxes/{inbox_id}", tags=["inboxes"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]

#: Visible ASCII and spaces between: what each mail program can send and each person can type (RFC 8265 asks for more).
_PATTERN = "^[!-~]([ -~]*[!-~])?$"


def _typable(password: SecretStr) -> SecretStr:
    if not re.fullmatch(_PATTERN, password.get_secret_value()):
        raise ValueError("a password has visible ASCII characters, and spaces between them")
    return password


class PasswordBody(BaseModel):
    """A password that was chosen elsewhere."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"password": "herring at 7 fathoms"}})

    password: Annotated[
        SecretStr,
        Field(min_length=12, max_length=200, json_schema_extra={"pattern": _PATTERN}),
        AfterValidator(_typable),
    ]


class NewPassword(BaseModel):
    """An inbox's new password. It is shown here and never again."""

    password: str


class MailServerView(BaseModel):
    """One way to a server: `tls` from the first octet, `starttls` before anything is said."""

    host: str
    port: int
    security: Literal["tls", "starttls"]


class ClientSettings(BaseModel):
    """What to enter in a mail program. Of the ways to send, the first is the better one (RFC 8314)."""

    username: str
    authentication: Literal["password"] = "password"
    imap: MailServerView
    smtp: list[MailServerView]


@router.post("/password:rotate")
async def rotate_password(inbox_id: uuid.UUID, response: Response, access: _Managing) -> NewPassword:
    """Make a new password for the inbox; mail programs and senders that use the present one must be told."""
    response.headers["Cache-Control"] = "no-store"
    password = generate_password()
    await change_password(access.session, access.scope, inbox_id, password)
    return NewPassword(password=password)


@router.put("/password", status_code=status.HTTP_204_NO_CONTENT)
async def set_password(inbox_id: uuid.UUID, body: PasswordBody, access: _Managing) -> None:
    """Set the inbox's password."""
    await change_password(access.session, access.scope, inbox_id, body.password.get_secret_value())


@router.get("/client-settings")
async def show_settings(inbox_id: uuid.UUID, access: _Reading) -> ClientSettings:
    """Show where a mail program reads and sends; 409 while the inbox has no server."""
    inbox = await load_inbox(access.session, access.scope, inbox_id)
    if not inbox.imap_config or not inbox.smtp_config:
        raise Conflict("The inbox has no server yet.")
    return ClientSettings(
        username=inbox.email_address, imap=_imap(inbox.imap_config), smtp=_submission(inbox.smtp_config)
    )


def _imap(config: dict[str, Any]) -> MailServerView:
    return MailServerView(host=config["host"], port=config["port"], security=config["security"])


def _submission(config: dict[str, Any]) -> list[MailServerView]:
    return [
        MailServerView(host=config["host"], port=config["tls_port"], security="tls"),
        MailServerView(host=config["host"], port=config["port"], security=config["security"]),
    ]
