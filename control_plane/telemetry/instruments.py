"""What the control plane's processes count and time: every metric with its unit and its labels, in one place.

Labels are of bounded sets: templates of routes, classes of statuses, names that are in our code. No tenant, server or
person is ever one: how many series there are must not depend on who our customers are, nor tell it.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # the library's own

#: Seconds; from an answer out of memory to one that a gateway gives up on.
_ANSWERS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
#: Seconds; steps ask providers and wait for machines.
_STEPS = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)

REQUESTS = Counter(
    "penguin_http_requests", "Requests that were answered, by route and class of status.", ("operation", "status")
)
REQUEST_SECONDS = Histogram(
    "penguin_http_request",
    "Time from a request's head to its answer's end.",
    ("operation",),
    unit="seconds",
    buckets=_ANSWERS,
)
SUBMITTED = Counter(
    "penguin_submission_messages", "Messages that programs handed over by SMTP, by class of the reply.", ("status",)
)
CONNECTIONS_IN_USE = Gauge(
    "penguin_database_connections_in_use", "Connections to PostgreSQL that work on something.", ("role",)
)
CONNECTIONS_MOST = Gauge("penguin_database_connections_most", "Connections that the pool opens at most.", ("role",))

SENDS = Gauge(
    "penguin_queue_sends",
    "Sends in PostgreSQL: waiting (those that are due among them), leased, dead.",
    ("priority", "state"),
)
OLDEST_DUE_SECONDS = Gauge(
    "penguin_queue_oldest_due", "For how long the oldest send that is due has waited.", ("priority",), unit="seconds"
)
CLAIMED = Counter("penguin_queue_claimed_sends", "Sends that were leased to a server.")
PUBLISHED = Counter("penguin_queue_published_envelopes", "Envelopes that were written to Redis.")
REFUSED = Counter("penguin_queue_refused_envelopes", "Envelopes that Redis did not take; they are written again.")
LEASES_EXPIRED = Counter("penguin_queue_expired_leases", "Leases that ran out and were taken back.")
ROUND_SECONDS = Histogram("penguin_queue_round", "Time of one round of the queuer.", unit="seconds", buckets=_ANSWERS)

LINKS = Gauge("penguin_hub_links", "Agents that are linked to this hub.")
REPORTS = Counter("penguin_hub_reports", "Health reports of servers that were kept.")
COMMANDS_SENT = Counter("penguin_hub_commands_sent", "Commands that went to servers.", ("kind",))
COMMANDS_ANSWERED = Counter("penguin_hub_commands_answered", "Commands that servers told the end of.", ("outcome",))
EVENTS = Counter(
    "penguin_delivery_events",
    "What servers told of sends; late news is recorded and changes nothing.",
    ("kind", "effect"),
)
REMOTE_WRITTEN = Counter("penguin_remote_write_samples", "Samples that went on to the time-series engine.")
REMOTE_DROPPED = Counter(
    "penguin_remote_write_dropped_samples",
    "Samples that did not: too many waited (full), the engine would not have them (refused), or the process ended.",
    ("reason",),
)
REMOTE_WAITING = Gauge("penguin_remote_write_waiting_reports", "Reports whose samples wait to go on.")

STEPS = Counter("penguin_pipeline_steps", "Steps of provisioning that came to something.", ("pipeline", "outcome"))
STEP_SECONDS = Histogram(
    "penguin_pipeline_step", "Time that a worker spent on a step.", ("pipeline",), unit="seconds", buckets=_STEPS
)
JOBS = Counter("penguin_jobs", "Jobs that ran by the clock, or for a run.", ("task", "outcome"))
BACKUP_OK = Gauge("penguin_backup_ok", "Whether the newest was good: of copies, of restore tests.", ("kind",))
BACKUP_GOOD = Gauge("penguin_backup_good_timestamp", "When the newest that was good ended.", ("kind",), unit="seconds")
WEBHOOKS = Counter("penguin_webhook_attempts", "Attempts to tell webhooks what happened.", ("outcome",))
