"""How letters to people leave: the port, and the two ways behind it.

Either by a submission server over TLS (RFC 8314; `PENGUIN_MAIL_URL`), or as a send of an inbox that the platform has
with itself (`PENGUIN_MAIL_INBOX`). Letters hold secrets: they are never logged, and not sent in the clear beyond
loopback.
"""

import asyncio
import smtplib
import ssl
import uuid
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from control_plane.errors import InvalidInput, PenguinError, Unavailable
from control_plane.messages.accept import WantedSend, accept_sends
from control_plane.messages.send_request import Priority, SendRequest
from control_plane.settings import Settings
from control_plane.tenancy.permissions import EVERYTHING
from control_plane.tenancy.scope import TenantScope
from db.session import Database

_TIMEOUT_SECONDS = 20
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PORTS = {"smtps": 465, "smtp": 587}


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter to one person, as plain text."""

    to: str
    subject: str
    text: str = field(repr=False)


class Post(Protocol):
    """Takes letters."""

    async def send(self, letter: Letter) -> None:
        """Hand a letter over; raise `Unavailable` when it was not taken."""


class SubmissionPost:
    """By a submission server."""

    def __init__(self, url: str, sender: str) -> None:
        self._server = _server_of(url)
        self._sender = sender

    async def send(self, letter: Letter) -> None:
        """Submit the letter in a thread."""
        try:
            await asyncio.to_thread(self._submit, letter)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"The letter could not be sent ({type(error).__name__}); try again later.") from None

    def _submit(self, letter: Letter) -> None:
        message = EmailMessage(policy=SMTP)
        message["From"], message["To"], message["Subject"] = self._sender, letter.to, letter.subject
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=self._sender.rpartition("@")[2])
        # RFC 3834: nobody's vacation notice answers it.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        with self._connect() as connection:
            if self._server.username:
                connection.login(unquote(self._server.username), unquote(self._server.password or ""))
            connection.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        host = self._server.hostname or ""
        port = self._server.port or _PORTS[self._server.scheme]
        context = ssl.create_default_context()
        if self._server.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_SECONDS, context=context)
        connection = smtplib.SMTP(host, port, timeout=_TIMEOUT_SECONDS)
        if host not in _LOOPBACK:
            connection.starttls(context=context)
        return connection


class InboxPost:
    """As a send of one of our own inboxes, through the whole product."""

    def __init__(self, database: Database, tenant_id: uuid.UUID, inbox_id: uuid.UUID) -> None:
        self._database = database
        self._scope = TenantScope(tenant_id, EVERYTHING)
        self._inbox_id = inbox_id

    async def send(self, letter: Letter) -> None:
        """Accept the send; from then on it is like any other."""
        request = SendRequest(letter.to, letter.subject, text=letter.text, priority=Priority.HIGH)
        async with self._database.tenant_connection(self._scope.reach) as connection:
            [outcome] = await accept_sends(connection, self._scope, [WantedSend(self._inbox_id, request)])
        if isinstance(outcome, PenguinError):
            raise Unavailable("The platform's own inbox does not take letters now; try again later.")


def post_of(settings: Settings, database: Database) -> Post | None:
    """Return the way that the settings name, None for none; raise `InvalidInput` when they name it wrongly.

    `database` is that of the API role.
    """
    if url := settings.mail_url.get_secret_value():
        return SubmissionPost(url, settings.mail_from)
    if settings.mail_inbox:
        tenant, _, inbox = settings.mail_inbox.partition("/")
        try:
            return InboxPost(database, uuid.UUID(tenant), uuid.UUID(inbox))
        except ValueError:
            raise InvalidInput("PENGUIN_MAIL_INBOX has the form <tenant id>/<inbox id>.") from None
    return None


def _server_of(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise InvalidInput("PENGUIN_MAIL_URL has the form smtps://user:password@host:port.")
    return parts
