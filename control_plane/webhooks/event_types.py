"""What tenants can be told of. The rows are written by triggers (db/migrations, 0022)."""

import enum
from typing import Literal, get_args


class EventType(enum.StrEnum):
    """The `type` of an event; part of the contract."""

    MESSAGE_RELAYED = "message.relayed"
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_DEFERRED = "message.deferred"
    MESSAGE_BOUNCED = "message.bounced"
    MESSAGE_EXPIRED = "message.expired"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_UNCERTAIN = "message.uncertain"
    MESSAGE_SUPPRESSED = "message.suppressed"
    MESSAGE_CANCELLED = "message.cancelled"
    DOMAIN_VERIFIED = "domain.verified"
    INBOX_READY = "inbox.ready"
    SERVER_READY = "server.ready"
    CERTIFICATE_FAILING = "certificate.failing"
    #: Four fifths of what the plan allows of something are used.
    LIMIT_NEAR = "limit.near"
    WEBHOOK_DISABLED = "webhook.disabled"
    #: To the endpoint that it was asked for, whatever types that one wants.
    WEBHOOK_PING = "webhook.ping"


#: What is recorded whether a tenant has an endpoint or not, and shown as notices.
NoticeType = Literal[
    EventType.SERVER_READY, EventType.DOMAIN_VERIFIED, EventType.CERTIFICATE_FAILING, EventType.LIMIT_NEAR
]
NOTICES: frozenset[EventType] = frozenset(get_args(NoticeType))
