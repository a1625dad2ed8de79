"""Prove from outside that mail flows through a server, as a stranger on the Internet would see it. Synchronous.

Over SMTP on port 25: STARTTLS is offered and good, relaying and unknown users are refused, a message to the probe
mailbox is accepted. Over IMAPS: exactly that message is there; it is deleted again.

SECURITY: the server's certificate is not verified. Its name is new and it may still show a self-signed one; the probe
mailbox's password opens nothing but that mailbox.
"""

import imaplib
import secrets
import smtplib
import ssl
import time
from dataclasses import dataclass, field
from email.message import EmailMessage

#: Seconds for each reply.
_REPLY_TIMEOUT = 10.0
#: Seconds until an accepted message must be in the mailbox.
_DELIVERY_TIMEOUT = 15.0
_POLL_SECONDS = 0.1


class MailFlowBroken(Exception):
    """What is wrong, as a sentence."""


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """The server to try; `helo` is what we call ourselves."""

    ipv4_address: str
    hostname: str
    helo: str
    mailbox: str
    password: str = field(repr=False)
    smtp_port: int = 25
    imaps_port: int = 993


def verify_mail_flow(target: ProbeTarget) -> None:
    """Raise `MailFlowBroken` unless mail flows as it should."""
    message_id = f"<{secrets.token_hex(16)}@{target.helo}>"
    try:
        _send(target, message_id)
        _receive(target, message_id)
    except (OSError, smtplib.SMTPException, imaplib.IMAP4.error) as error:
        raise MailFlowBroken(f"{target.hostname}: {type(error).__name__}: {error}") from error


def _send(target: ProbeTarget, message_id: str) -> None:
    with smtplib.SMTP(target.ipv4_address, target.smtp_port, target.helo, timeout=_REPLY_TIMEOUT) as smtp:
        smtp.ehlo()
        if not smtp.has_extn("starttls"):
            raise MailFlowBroken(f"{target.hostname} does not offer STARTTLS on port {target.smtp_port}")
        smtp.starttls(context=_tls())
        smtp.ehlo()
        _must_refuse(smtp, f"relay-probe@elsewhere.{target.helo}", "relays for strangers")
        _must_refuse(smtp, f"no-such-user-{secrets.token_hex(4)}@{target.hostname}", "accepts unknown users")
        smtp.sendmail("", [target.mailbox], _message(target, message_id).as_bytes())


def _must_refuse(smtp: smtplib.SMTP, recipient: str, otherwise: str) -> None:
    smtp.mail("")
    code, _ = smtp.rcpt(recipient)
    smtp.rset()
    if code < 500:
        raise MailFlowBroken(f"the server {otherwise}: it answers {code} for {recipient}")


def _message(target: ProbeTarget, message_id: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = target.mailbox
    message["To"] = target.mailbox
    message["Subject"] = "Mail flow verification"
    message["Message-ID"] = message_id
    message.set_content("This message is deleted as soon as it is found.")
    return message


def _receive(target: ProbeTarget, message_id: str) -> None:
    deadline = time.monotonic() + _DELIVERY_TIMEOUT
    with imaplib.IMAP4_SSL(target.ipv4_address, target.imaps_port, ssl_context=_tls(), timeout=_REPLY_TIMEOUT) as imap:
        imap.login(target.mailbox, target.password)
        while not (found := _search(imap, message_id)):
            if time.monotonic() > deadline:
                raise MailFlowBroken(f"{target.hostname} accepted a message that did not reach its mailbox")
            time.sleep(_POLL_SECONDS)
        for number in found:
            imap.store(number, "+FLAGS", "\\Deleted")
        imap.expunge()


def _search(imap: imaplib.IMAP4_SSL, message_id: str) -> list[str]:
    """Return the numbers of the messages with this Message-ID; selecting anew shows what has come since."""
    imap.select("INBOX")
    _, found = imap.search(None, "HEADER", "Message-ID", f'"{message_id}"')
    return [number.decode() for number in found[0].split()]


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
