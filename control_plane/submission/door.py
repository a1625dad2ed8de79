"""What is said at the door, command by command: aiosmtpd speaks SMTP and calls what is here.

SECURITY: nothing but EHLO and STARTTLS is answered before TLS, and no mail is taken before log-in; the library's own
switches do the first, this module does the second, at both doors alike.
"""

import asyncio
import base64
import binascii
import logging
import ssl
from dataclasses import dataclass
from typing import AnyStr

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, Session

from control_plane.errors import InvalidInput, PenguinError, TooManyRequests, Unauthenticated
from control_plane.identity.api_keys import PresentedKey
from control_plane.identity.networks import address_of
from control_plane.inboxes.addresses import parse_address
from control_plane.messages.compose import MAX_MESSAGE
from control_plane.submission.log_in import LogIns
from control_plane.submission.replies import (
    LOG_IN_FIRST,
    LOG_IN_LATER,
    NO_SMTPUTF8,
    TRY_AGAIN,
    WRONG_KEY,
    accepted,
    address_refused,
    reply_to,
)
from control_plane.submission.submissions import Submissions
from control_plane.telemetry.instruments import SUBMITTED

_log = logging.getLogger(__name__)

#: RFC 5321, section 4.5.3.1.8, asks for no less.
MAX_RECIPIENTS = 100
#: Seconds in which a client must have said the next thing, or the whole of a message.
_PATIENCE = 300.0
_REFUSED = AuthResult(success=False, handled=False, message=WRONG_KEY)


@dataclass(frozen=True, slots=True)
class SubmissionDoor:
    """aiosmtpd's handler; the library finds the methods by their names."""

    log_ins: LogIns
    submissions: Submissions

    async def auth_PLAIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - the library's name
        """Take a log-in in one piece (RFC 4616)."""
        blob = _decoded(args[1]) if len(args) == 2 else await _asked(server, "")
        if blob is None:
            return AuthResult(success=False, handled=len(args) != 2, message="501 5.5.2 This is not base64.")
        parts = blob.split(b"\0")
        return await self._log_in(server, parts[1], parts[2]) if len(parts) == 3 else _REFUSED

    async def auth_LOGIN(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802 - the library's name
        """Take a log-in in two pieces."""
        user = _decoded(args[1]) if len(args) == 2 else await _asked(server, "Username:")
        password = None if user is None else await _asked(server, "Password:")
        if user is None or password is None:
            return AuthResult(success=False, handled=True)
        return await self._log_in(server, user, password)

    async def _log_in(self, server: SMTP, user: bytes, password: bytes) -> AuthResult:
        peer = server.session.peer if server.session else None
        try:
            name, key = user.decode("ascii"), password.decode("ascii")
            presented = await self.log_ins.check(name, key, address_of(peer[0] if isinstance(peer, tuple) else None))
        except (UnicodeDecodeError, Unauthenticated):
            return _REFUSED
        except TooManyRequests as error:
            return AuthResult(success=False, handled=False, message=reply_to(error).replace("451 4.7.1", "454 4.7.0"))
        except PenguinError:
            return AuthResult(success=False, handled=False, message=LOG_IN_LATER)
        return AuthResult(success=True, auth_data=presented)

    async def handle_EHLO(  # noqa: N802 - the library's name
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, offers: list[str]
    ) -> list[str]:
        """Offer what the library does, but SMTPUTF8: it is only to read what such a client says."""
        session.host_name = hostname
        return [offer for offer in offers if not offer.endswith("-SMTPUTF8")]

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the sender: an inbox of the tenant."""
        if not isinstance(session.auth_data, PresentedKey):
            return LOG_IN_FIRST
        try:
            sender = parse_address(address, "/from")
        except InvalidInput as error:
            return address_refused(address, error.detail)
        if "SMTPUTF8" in options:
            return NO_SMTPUTF8
        try:
            await self.submissions.require_sender(session.auth_data, sender)
        except PenguinError as error:
            return reply_to(error)
        envelope.mail_from = str(sender)
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take one recipient; each is told of by itself."""
        try:
            recipient = str(parse_address(address, "/to"))
        except InvalidInput as error:
            return address_refused(address, error.detail)
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return f"452 4.5.3 A message goes to {MAX_RECIPIENTS} recipients at a time."
        if recipient not in envelope.rcpt_tos:
            envelope.rcpt_tos.append(recipient)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Accept the message; 250 is said after the commit."""
        reply = await self._accept(session.auth_data, envelope)
        SUBMITTED.labels(f"{reply[0]}xx").inc()
        return reply

    async def _accept(self, key: object, envelope: Envelope) -> str:
        data, sender = envelope.content, envelope.mail_from
        if not isinstance(key, PresentedKey) or not isinstance(data, bytes) or sender is None:
            return LOG_IN_FIRST
        try:
            return accepted(await self.submissions.accept(key, sender, envelope.rcpt_tos, data))
        except PenguinError as error:
            return reply_to(error)

    async def handle_exception(self, error: Exception) -> str:
        """Answer what went wrong here, such as a database that is away; the client tries again."""
        _log.error("a command failed: %s", type(error).__name__, exc_info=error)
        return TRY_AGAIN


class Conversation(SMTP):
    """The library's side of a conversation, with replies that a client of any age can read."""

    async def push(self, status: AnyStr) -> None:
        """Send a reply; it may hold what the client said, which may be anything."""
        await super().push(status.encode("ascii", "replace") if isinstance(status, str) else status)


def protocol(door: SubmissionDoor, hostname: str, tls: ssl.SSLContext, *, from_start: bool) -> SMTP:
    """Return what speaks with one client: in TLS `from_start` (RFC 8314), or from STARTTLS on."""
    return Conversation(
        door,
        data_size_limit=MAX_MESSAGE,
        hostname=hostname,
        ident="ESMTP",
        enable_SMTPUTF8=True,
        tls_context=None if from_start else tls,
        require_starttls=not from_start,
        auth_require_tls=not from_start,
        timeout=_PATIENCE,
        loop=asyncio.get_running_loop(),
    )


def _decoded(text: str) -> bytes | None:
    # "=" stands for an empty response (RFC 4954, section 4).
    try:
        return b"" if text == "=" else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


async def _asked(server: SMTP, challenge: str) -> bytes | None:
    """Return what the client answers; None when the library has told it already what is wrong."""
    answer = await server.challenge_auth(challenge)
    return None if answer is MISSING or not isinstance(answer, bytes) else answer
