"""The channel to the control plane: TLS with pinned authorities, keepalive, no proxy, nothing shared.

Keepalive pings are sent every 30 s, above the hub's minimum of 10 s, below which it would close the connection
(GOAWAY too_many_pings). A channel of one's own, made anew for each attempt, leaves the back-off to us and lets a new
certificate count from the next connection.
"""

import grpc
import grpc.aio

_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # A desired state with every mailbox of a large server.
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
)


def open_channel(
    endpoint: str, ca_pem: bytes, key_pem: bytes | None = None, certificate_pem: bytes | None = None
) -> grpc.aio.Channel:
    """Open a channel to `endpoint` (host:port); with key and certificate it is mutual TLS."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=ca_pem, private_key=key_pem, certificate_chain=certificate_pem
    )
    return grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
