"""Secrets of endpoints and what they sign: Standard Webhooks, symmetric (standardwebhooks.com, version 1).

For a while after a rotation both secrets sign, so that a receiver may change over at any moment of it.
"""

import base64
import datetime as dt
import os
import uuid
from collections.abc import Sequence

from standardwebhooks import Webhook

_PREFIX = "whsec_"
# The specification asks for 24 to 64 octets.
_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret as it is shown to the tenant, once."""
    return _PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode("ascii")


def place_of(endpoint_id: uuid.UUID) -> str:
    """Return what an endpoint's secrets are sealed for."""
    return f"webhook_endpoints.secret_sealed:{endpoint_id}"


def signed_headers(event_id: uuid.UUID, at: dt.datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers by which a receiver knows the event again, and that it is ours; `at` is in UTC."""
    signatures = [Webhook(secret).sign(str(event_id), at, body) for secret in secrets]
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
