"""The hub's two ports: enrolment with server TLS alone, the link with mutual TLS.

Certificates are asked for at each handshake, so a renewed one counts without a restart and without touching
connections that are open.
"""

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc.aio import Server, server

from control_plane.hub.door import Door

#: A fleet that comes all at once.
_MOST_PENDING = 20_000

OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Agents ping every 30 s; the library's own minimum of 5 minutes would close their connections (GOAWAY).
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
    # Calls that wait until we take them up, one after another: from a thousand on the library would turn some away,
    # after a handshake that was for nothing, and whoever is turned away comes again with another.
    ("grpc.server.max_pending_requests", _MOST_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """What a port shows and whom it trusts: PEM files' contents."""

    certificate_pem: bytes
    private_key_pem: bytes
    authorities_pem: bytes


def enrolment_server(door: Door, address: str, tls: Callable[[], ServerTls]) -> Server:
    """Return the server of the enrolment port, not started; callers show no certificate."""
    return _server(door, address, tls, mutual=False)


def link_server(door: Door, address: str, tls: Callable[[], ServerTls]) -> Server:
    """Return the server of the link port, not started; callers show a certificate of our authority."""
    return _server(door, address, tls, mutual=True)


def _server(door: Door, address: str, tls: Callable[[], ServerTls], *, mutual: bool) -> Server:
    """`tls` is called on gRPC's own threads and must only look something up; the same object says that nothing changed.

    Of whatever it is given the library makes a new TLS context: one for each connection costs memory and time, and the
    one before is freed while other threads may be using it.
    """
    shown = initial = tls()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal shown
        if (now := tls()) is shown:
            return None
        shown = now
        return _configuration(now, mutual=mutual)

    built = server(interceptors=(door,), options=OPTIONS)
    credentials = grpc.dynamic_ssl_server_credentials(
        _configuration(initial, mutual=mutual),
        changed,  # type: ignore[arg-type] # the library takes None for no change; its stubs do not say so
        require_client_authentication=mutual,
    )
    built.add_secure_port(address, credentials)
    return built


def _configuration(tls: ServerTls, *, mutual: bool) -> grpc.ServerCertificateConfiguration:
    pair = (tls.private_key_pem, tls.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair], tls.authorities_pem if mutual else None)
