"""See that every door of the mail server shows a certificate: 25 and 587 after STARTTLS, 465 and 993 at once.

Daemons that were reloaded finish what they do first, so a door that shows the old one is asked again for a while.
"""

import contextlib
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator

#: Seconds until every door must show it.
PATIENCE = 15.0
_PAUSE = 0.05
_TIMEOUT = 5.0
_ADDRESS = "127.0.0.1"
_STARTTLS = (25, 587)
_TLS_AT_ONCE = (465, 993)


class NotServed(Exception):
    """A door shows another certificate, or none; the message says which."""


def verify(chain_pem: bytes) -> str:
    """Return one sentence on what was seen; raise `NotServed`."""
    first = chain_pem.decode("ascii").partition("-----END CERTIFICATE-----")
    wanted = ssl.PEM_cert_to_DER_cert("".join(first[:2]))
    deadline = time.monotonic() + PATIENCE
    for port in (*_STARTTLS, *_TLS_AT_ONCE):
        while shown := _other_than(wanted, port):
            if time.monotonic() > deadline:
                raise NotServed(f"port {port} {shown}")
            time.sleep(_PAUSE)
    return "ports 25, 465, 587 and 993 show it"


def _other_than(wanted: bytes, port: int) -> str:
    """Return what is seen in place of the wanted certificate; nothing when it is that."""
    try:
        with _opened(port) as connection:
            shown = connection.getpeercert(binary_form=True)
    except (OSError, smtplib.SMTPException) as error:
        return f"shows no certificate: {error!r}"
    return "" if shown == wanted else "still shows another certificate"


@contextlib.contextmanager
def _opened(port: int) -> Iterator[ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # Which certificate it must be is compared; it may be nobody's.
    context.verify_mode = ssl.CERT_NONE
    if port in _TLS_AT_ONCE:
        with (
            socket.create_connection((_ADDRESS, port), _TIMEOUT) as plain,
            context.wrap_socket(plain) as connection,
        ):
            yield connection
        return
    with smtplib.SMTP(_ADDRESS, port, local_hostname="localhost", timeout=_TIMEOUT) as smtp:
        smtp.starttls(context=context)
        if not isinstance(smtp.sock, ssl.SSLSocket):
            raise smtplib.SMTPException("STARTTLS did not begin TLS")
        yield smtp.sock
