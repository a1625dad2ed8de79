"""Whether the authority is asked now, and when again. Pure: times are seconds since the Unix epoch.

Let's Encrypt allows five failed validations of a name in an hour; the pauses keep below that, and a day has an end.
"""

import dataclasses
import datetime as dt

from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.status import Status
from mailstack.certificates.pair import InvalidPair, Pair, is_for, is_self_signed, renewal_time

#: Seconds after the first, second, … failure in a row; the last one from then on.
PAUSES = (10.0, 60.0, 300.0, 1500.0, 7200.0, 21600.0)
#: Shares of a pause that chance may take away or add.
JITTER = 0.25
#: Attempts within a day.
MOST_ATTEMPTS = 10
DAY = 86400.0


def wanted_from(served: Pair | None, order: Order, status: Status) -> float:
    """Return from when on a certificate is wanted: 0 for one that is missing, else the renewal time of the served."""
    if served is None or status.order != order.mark:
        return 0.0
    try:
        certificate = served.certificate
    except InvalidPair:
        return 0.0
    if is_self_signed(certificate) or not all(is_for(certificate, name) for name in order.names):
        return 0.0
    return renewal_time(certificate).timestamp()


def missing(served: Pair | None, order: Order) -> tuple[str, ...]:
    """Return the names beside the host's own that were ordered and that the served certificate is not for."""
    try:
        certificate = served.certificate if served else None
    except InvalidPair:
        certificate = None
    return tuple(name for name in order.further_names if certificate is None or not is_for(certificate, name))


def is_due(served: Pair | None, order: Order, status: Status, now: float) -> bool:
    """Say whether the authority is to be asked now. A new order need not wait for the failures of the one before."""
    held_until = status.next_attempt if status.failures and status.names == order.names_mark else 0.0
    return now >= max(wanted_from(served, order, status), held_until)


def part_to_ask_for(served: Pair | None, order: Order, status: Status, now: float) -> Order:
    """Return what is asked for now: all of it, or after a failure the host's own name alone where that is due.

    Mail depends on that one, and any of the others may lead elsewhere by now.
    """
    failed_before = status.failures > 0 and status.names == order.names_mark
    alone = order.for_host_alone
    return alone if failed_before and wanted_from(served, alone, status) <= now else order


def waiting_for_port(status: Status, order: Order, now: float) -> Status:
    """Return the status until port 80 is open; it stays the same while it is waited for."""
    if status.state is State.WAITING_FOR_PORT:
        return status
    detail = f"a certificate for {order.hostname} is asked for as soon as the control plane has had port 80 opened"
    return dataclasses.replace(status, state=State.WAITING_FOR_PORT, detail=detail, next_attempt=now)


def asking(status: Status, order: Order, now: float) -> Status:
    """Return the status while the authority is asked: the attempt counts, whatever becomes of it."""
    return dataclasses.replace(
        status,
        state=State.ASKING,
        detail=f"{order.directory_url} is asked for a certificate for {order.hostname}",
        last_attempt=now,
        attempts=(*recent(status, now), now),
        failures=status.failures if status.names == order.names_mark else 0,
        order=order.mark,
        names=order.names_mark,
    )


def succeeded(status: Status, served: Pair, hostname: str) -> Status:
    """Return the status once the certificate is served."""
    certificate = served.certificate
    until = renewal_time(certificate)
    issuer = certificate.issuer.rfc4514_string()
    detail = (
        f"{hostname} shows a certificate of {issuer} until {_day(certificate.not_valid_after_utc)};"
        f" it is renewed from {_day(until)} on"
    )
    return dataclasses.replace(status, state=State.ISSUED, detail=detail, next_attempt=until.timestamp(), failures=0)


def settled(status: Status, served: Pair | None, order: Order, now: float) -> Status:
    """Return the status while nothing is due: what failed for names that are not ordered any more is over."""
    if served is None or not status.failures or status.names == order.names_mark:
        return status
    if wanted_from(served, order, status) <= now:
        return status
    return dataclasses.replace(succeeded(status, served, order.hostname), names=order.names_mark)


def failed(status: Status, state: State, why: str, now: float, *, retry_after: float, draw: float) -> Status:
    """Return the status after a failure; `draw` is by chance, in [0, 1), `retry_after` the seconds asked for, or 0."""
    failures = status.failures + 1
    pause = PAUSES[min(failures, len(PAUSES)) - 1] * (1 + JITTER * (2 * draw - 1))
    again = now + max(pause, retry_after)
    return dataclasses.replace(
        status, state=state, detail=f"{why}; next attempt {_moment(again)}", next_attempt=again, failures=failures
    )


def spent(status: Status, now: float) -> Status | None:
    """Return the status that says so when the day's attempts are used up, else None."""
    attempts = recent(status, now)
    if len(attempts) < MOST_ATTEMPTS:
        return None
    again = attempts[0] + DAY
    detail = f"{len(attempts)} attempts were made within a day, the most that are; next attempt {_moment(again)}"
    return dataclasses.replace(
        status,
        state=State.SPENT,
        detail=detail,
        next_attempt=again,
        attempts=attempts,
        failures=max(status.failures, 1),
    )


def recent(status: Status, now: float) -> tuple[float, ...]:
    """Return the attempts within the last day."""
    return tuple(at for at in status.attempts if now - DAY < at <= now)


def moment(seconds: float) -> dt.datetime:
    """Return the moment as calendars have it."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _day(when: dt.datetime) -> str:
    return when.strftime("%Y-%m-%d")


def _moment(seconds: float) -> str:
    return moment(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")
