"""Verify a mail server by using it: real SMTP and IMAP at its own address, as its users and other servers would.

A refusal where mail should pass, or mail accepted where it should be refused, is final (`ProbeFailed`). What cannot be
reached yet, or answers "try again", is tried again until `PATIENCE` ends: services come up one after the other.

BUGS: talks to the server from the server. That port 25 is open to the world, and that DNS leads here, is for the
control plane to see.
"""

import email.message
import imaplib
import secrets
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from mailstack import layout
from mailstack.spec import MailServerSpec

#: Seconds until the server must behave.
PATIENCE = 10.0
_PAUSE = 0.02
_CONNECT_TIMEOUT = 5.0
_SUBJECT = "Delivery check"
_ACCEPTED = 250
_REFUSED_FOR_GOOD = range(500, 600)


class ProbeFailed(Exception):
    """The server does not do what it must, or does what it must not; the message says which."""


@dataclass(frozen=True, slots=True)
class _Server:
    """The server under test, the certificate it must serve, and one message's unmistakable id."""

    spec: MailServerSpec
    certificate_der: bytes
    token: str

    @property
    def address(self) -> str:
        """Where its clients connect to."""
        return self.spec.ipv4_address

    @property
    def message_id(self) -> str:
        """The Message-ID of the message sent through it."""
        return f"<{self.token}@{self.spec.hostname}>"


def verify(spec: MailServerSpec, certificate_pem: bytes) -> str:
    """Return one sentence on what was verified; raise `ProbeFailed`."""
    first_certificate = certificate_pem.decode("ascii").partition("-----END CERTIFICATE-----")
    server = _Server(spec, ssl.PEM_cert_to_DER_cert("".join(first_certificate[:2])), secrets.token_hex(16))
    deadline = time.monotonic() + PATIENCE
    for check in (_injection_port, _port_25, _submission, _submissions, _imaps):
        _until(deadline, check, server)
    return "a message went from submission to its mailbox; relaying, unknown users and plain-text log-in are refused"


def _until(deadline: float, check: Callable[[_Server], None], server: _Server) -> None:
    name = check.__name__.lstrip("_").replace("_", " ")
    while True:
        try:
            return check(server)
        except ProbeFailed as error:
            raise ProbeFailed(f"{name}: {error}") from error
        except (OSError, imaplib.IMAP4.error) as error:
            if time.monotonic() > deadline:
                raise ProbeFailed(f"{name}: {error!r}") from error
        time.sleep(_PAUSE)


def _injection_port(server: _Server) -> None:
    with socket.create_connection(("127.0.0.1", layout.INJECTION_PORT), _CONNECT_TIMEOUT) as connection:
        if not connection.recv(256).startswith(b"220 "):
            raise ProbeFailed("no greeting on loopback")
    _must_be_closed(server, layout.INJECTION_PORT)


def _port_25(server: _Server) -> None:
    with _smtp(server, 25) as smtp:
        _start_tls(smtp, server)
        _must_not_offer_auth(smtp)
        smtp.mail("")
        _must_refuse(smtp, "nobody@elsewhere.example", "relays to foreign domains")
        _must_refuse(smtp, f"{server.token}@{server.spec.hostname}", "takes mail for unknown users")
        _must_accept(smtp, server.spec.probe.address)
        smtp.rset()


def _submission(server: _Server) -> None:
    with _smtp(server, 587) as smtp:
        _start_tls(smtp, server)
        _log_in(smtp, server)
        smtp.mail(f"{server.token}@{server.spec.hostname}")
        _must_refuse(smtp, server.spec.probe.address, "lets a user send as somebody else")
        smtp.rset()
        smtp.send_message(_message(server))


def _submissions(server: _Server) -> None:
    with smtplib.SMTP_SSL(
        server.address, 465, local_hostname=server.spec.hostname, timeout=_CONNECT_TIMEOUT, context=_tls()
    ) as smtp:
        _must_serve_certificate(smtp.sock, server)
        smtp.ehlo_or_helo_if_needed()
        _log_in(smtp, server)
        smtp.mail(server.spec.probe.address)
        _must_accept(smtp, server.spec.probe.address)
        smtp.rset()


def _imaps(server: _Server) -> None:
    _must_be_closed(server, 143)
    with imaplib.IMAP4_SSL(server.address, 993, ssl_context=_tls(), timeout=_CONNECT_TIMEOUT) as imap:
        _must_serve_certificate(imap.sock, server)
        imap.login(server.spec.probe.address, server.spec.probe.password)
        imap.select("INBOX")
        _wait_for_message(imap, server)
        # Those of earlier probes that were cut off, too.
        for number in _search(imap, "SUBJECT", f'"{_SUBJECT}"'):
            imap.store(number, "+FLAGS", r"(\Deleted)")
        imap.expunge()


def _wait_for_message(imap: imaplib.IMAP4, server: _Server) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _search(imap, "HEADER", "Message-ID", f'"{server.message_id}"'):
        if time.monotonic() > deadline:
            raise ProbeFailed(f"the message did not arrive within {PATIENCE:.0f} s")
        time.sleep(_PAUSE)
        imap.noop()


def _search(imap: imaplib.IMAP4, *criteria: str) -> list[str]:
    _, found = imap.search(None, *criteria)
    numbers: bytes = found[0]
    return numbers.decode("ascii").split()


def _message(server: _Server) -> email.message.EmailMessage:
    message = email.message.EmailMessage()
    message["From"] = message["To"] = server.spec.probe.address
    message["Subject"] = f"{_SUBJECT} {server.token}"
    message["Date"] = formatdate()
    message["Message-ID"] = server.message_id
    message.set_content("Sent by this server to itself, to see that mail flows. It removes this message again.\n")
    return message


def _smtp(server: _Server, port: int) -> smtplib.SMTP:
    return smtplib.SMTP(server.address, port, local_hostname=server.spec.hostname, timeout=_CONNECT_TIMEOUT)


def _start_tls(smtp: smtplib.SMTP, server: _Server) -> None:
    smtp.ehlo()
    _must_not_offer_auth(smtp)
    if not smtp.has_extn("starttls"):
        raise ProbeFailed("STARTTLS is not offered")
    smtp.starttls(context=_tls())
    _must_serve_certificate(smtp.sock, server)
    smtp.ehlo()


def _log_in(smtp: smtplib.SMTP, server: _Server) -> None:
    try:
        smtp.login(server.spec.probe.address, server.spec.probe.password)
    except smtplib.SMTPAuthenticationError as error:
        if error.smtp_code in _REFUSED_FOR_GOOD:
            raise ProbeFailed(f"log-in is refused: {error.smtp_code}") from error
        raise


def _must_not_offer_auth(smtp: smtplib.SMTP) -> None:
    if smtp.has_extn("auth"):
        raise ProbeFailed("AUTH is offered where it must not be")


def _must_refuse(smtp: smtplib.SMTP, recipient: str, otherwise: str) -> None:
    code, reply = smtp.rcpt(recipient)
    if code not in _REFUSED_FOR_GOOD:
        if code == _ACCEPTED:
            raise ProbeFailed(otherwise)
        raise smtplib.SMTPResponseException(code, reply)


def _must_accept(smtp: smtplib.SMTP, recipient: str) -> None:
    code, reply = smtp.rcpt(recipient)
    if code in _REFUSED_FOR_GOOD:
        raise ProbeFailed(f"the probe's own address is refused: {code} {reply.decode(errors='replace')}")
    if code != _ACCEPTED:
        raise smtplib.SMTPResponseException(code, reply)


def _must_serve_certificate(connection: object, server: _Server) -> None:
    if not isinstance(connection, ssl.SSLSocket) or connection.getpeercert(binary_form=True) != server.certificate_der:
        raise ProbeFailed("another certificate is served than the one on disk")


def _must_be_closed(server: _Server, port: int) -> None:
    try:
        with socket.create_connection((server.address, port), _CONNECT_TIMEOUT):
            raise ProbeFailed(f"port {port} is open to the network")
    except ConnectionRefusedError:
        return


def _tls() -> ssl.SSLContext:
    """Any certificate passes here, for it may be self-signed; which one it must be is compared afterwards."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
