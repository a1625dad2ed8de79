"""A health report of the size and shape that a mail server under mail sends."""

import time

from protos.agent.v1.telemetry_pb2 import (
    Destination,
    Disk,
    HealthReport,
    Host,
    Network,
    PostfixQueue,
    QueuedDomain,
    QueuedProviders,
    Relay,
    ServedCertificate,
    Unit,
)

_UNITS = ("postfix.service", "postfix@-.service", "dovecot.service", "opendkim.service", "opendmarc.service", "nginx")
_PROVIDERS = ("google", "microsoft", "yahoo", "apple", "other")
_GIB = 2**30
_DAY_MS = 86_400_000


def health_report(hostname: str, count: int) -> HealthReport:
    """Return the report with this count since the agent's start."""
    now_ms = time.time_ns() // 1_000_000
    return HealthReport(
        at_ms=now_ms,
        agent_version="simulated",
        host=Host(
            load_1m=count % 7 / 3,
            cpu_count=2,
            memory_total_bytes=4 * _GIB,
            memory_available_bytes=2 * _GIB + count % 1000 * 2**20,
            uptime_seconds=86_400.0 + count,
            cpu_percent=1.0 + count % 60,
        ),
        disks=[Disk(mount="/", total_bytes=40 * _GIB, free_bytes=30 * _GIB, inodes_total=10**7, inodes_free=9 * 10**6)],
        postfix_queue=_queue(count),
        units=[Unit(name=name, active_state="active", sub_state="running") for name in _UNITS],
        certificates=[
            ServedCertificate(port=port, subject=hostname, issuer="E7", not_after_ms=now_ms + 60 * _DAY_MS)
            for port in (25, 587, 993)
        ],
        relay=Relay(in_hand=count % 50, in_postfix=count % 50, redis_connected=True),
        network=Network(received_bytes=10**9 + 10**6 * count, sent_bytes=10**10 + 10**7 * count),
        destinations=[
            Destination(provider=provider, delivered=1000 * count, deferred=20 * count, bounced=count)
            for provider in _PROVIDERS
        ],
        counting_since_ms=now_ms - 1000 * count,
        queued_domains=[
            QueuedDomain(domain=f"{provider}.example", provider=provider, messages=3) for provider in _PROVIDERS
        ],
    )


def _queue(count: int) -> PostfixQueue:
    active, deferred = count % 30, count % 100
    return PostfixQueue(
        active=active,
        deferred=deferred,
        oldest_seconds=300.0,
        active_ages=[active, 0, 0, 0, 0],
        deferred_ages=[0, deferred, 0, 0, 0],
        active_providers=QueuedProviders(**dict.fromkeys(_PROVIDERS, active)),
        deferred_providers=QueuedProviders(**dict.fromkeys(_PROVIDERS, deferred)),
    )
