"""penguin-certificates: gets the mail server's certificate from an authority, and renews it. One run is one look.

systemd runs it when the order changes (penguin-certificates.path), a command asks, and every few minutes (-.timer);
most runs find nothing due and end. `--now` asks at once, whatever is served and however often it failed.

    order      /etc/penguin/tls/order.json, written with the configuration: which name, which authority
    asked      /etc/penguin/tls/asked.json, written by a command: ask whatever is served; port 80 has been opened
    look       the served certificate: renewed after two thirds of its own life
    ask        certbot, over HTTP-01; port 80 is open while it runs. Where a firewall of the provider's keeps it shut,
               the status says that it is waited for, and each opening is good for one attempt. Or over DNS-01: the
               control plane publishes the records that are asked for in the health report, and says so by a command
    hand over  the root half checks the pair, replaces one file, reloads, looks at every door, or puts all back

A pair that was issued and not yet served is kept, and offered again before another is asked for. No apply ever waits
for this: until the first certificate is there the server shows its own.

SECURITY: runs as root with the one right to listen on port 80. The private key is made here and goes to the root half.

DIAGNOSTICS: one log line for each attempt (journalctl -u penguin-certificates); the last outcome in
/var/lib/penguin-certificates/status.json, which the health report shows. Exit status 0 but for a crash.
"""

import argparse
import dataclasses
import fcntl
import logging
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.acme import certbot, due, status
from agent.acme.asked import Asked, read_asked
from agent.acme.handing import NoAnswer, hand_over
from agent.acme.order import Order, read_order
from agent.acme.states import State
from agent.acme.status import Status
from agent.acme.verdict import Failure
from agent.identity.own_log import start_own_log
from agent.settings import Settings
from agent.status_writer import write_status
from mailstack import layout
from mailstack.certificates.pair import InvalidPair, Pair, require_servable, unpack
from protos.agent.v1.configuration_pb2 import ConfigurationResult

#: Seconds until the next attempt that are waited for here; the timer is slower.
PATIENCE = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issuer:
    """What a run works with; a test has its own."""

    folder: Path
    order_file: Path
    asked_file: Path
    served_file: Path
    ask: Callable[[Order, Path], Pair | Failure]
    hand_over: Callable[[Pair], ConfigurationResult]
    now: Callable[[], float] = time.time
    draw: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep

    @property
    def status_file(self) -> Path:
        """What is remembered, for all to read."""
        return self.folder / "status.json"

    @property
    def pending_file(self) -> Path:
        """A pair that is issued and not yet served."""
        return self.folder / "pending.pem"


def main() -> int:
    """Read the command line and look once."""
    parser = argparse.ArgumentParser(prog="penguin-certificates", description="Gets the mail server's certificate.")
    parser.add_argument("--now", action="store_true", help="ask the authority at once, whatever is served")
    arguments = parser.parse_args()
    settings = Settings()
    start_own_log(settings.identity_dir)
    issuer = Issuer(
        folder=settings.certificate_status.parent,
        order_file=Path(layout.CERTIFICATE_ORDER),
        asked_file=Path(layout.CERTIFICATE_ASKED),
        served_file=Path(layout.TLS_PAIR),
        ask=certbot.ask,
        hand_over=lambda pair: hand_over(pair, settings.configure_socket),
    )
    with (issuer.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Of an attempt that was cut off.
        certbot.forget_challenges(issuer.folder)
        look(issuer, forced=arguments.now)
    return 0


def look(issuer: Issuer, *, forced: bool = False) -> None:
    """Do what is due now, and what will be due within `PATIENCE`; one attempt when it is forced."""
    while True:
        order = read_order(issuer.order_file)
        before = status.load(issuer.status_file)
        if order is None:
            _note(issuer, before, Status(detail="no authority is set; the server shows a certificate of its own"))
            return
        asked = read_asked(issuer.asked_file)
        wanted = forced or asked.wants_renewal(before)
        if not wanted and not due.is_due(_served(issuer), order, before, issuer.now()):
            _note(issuer, before, _compared(issuer, order, due.settled(before, _served(issuer), order, issuer.now())))
            return
        if not forced and _must_wait_for_port(issuer, order, before, asked):
            _note(issuer, before, _compared(issuer, order, due.waiting_for_port(before, order, issuer.now())))
            return
        after = _compared(issuer, order, _attempt(issuer, order, before))
        _note(issuer, before, after)
        pause = after.next_attempt - issuer.now()
        if forced or after.state is State.ISSUED or pause > PATIENCE:
            return
        issuer.sleep(max(0.0, pause))


def _must_wait_for_port(issuer: Issuer, order: Order, before: Status, asked: Asked) -> bool:
    """Say whether the authority could not ask back now, and it would be asked."""
    if not order.port_on_request or asked.has_port_open(before, issuer.now()):
        return False
    return _pending(issuer, order) is None and due.spent(before, issuer.now()) is None


def _attempt(issuer: Issuer, order: Order, before: Status) -> Status:
    """Offer what is pending, or else ask for a new one; return what became of it."""
    if pending := _pending(issuer, order):
        _log.info("a certificate that was issued before is offered again")
        return _hand_over(issuer, order, pending, before)
    if spent := due.spent(before, issuer.now()):
        return spent
    asking = _compared(issuer, order, due.asking(before, order, issuer.now()))
    write_status(issuer.status_file, asking)
    asked_for = due.part_to_ask_for(_served(issuer), order, before, issuer.now())
    answer = issuer.ask(asked_for, issuer.folder)
    if isinstance(answer, Failure):
        return due.failed(
            asking, answer.state, answer.why, issuer.now(), retry_after=answer.retry_after, draw=issuer.draw()
        )
    issuer.pending_file.touch(mode=0o600)
    issuer.pending_file.write_bytes(answer.packed)
    return _hand_over(issuer, order, answer, asking)


def _hand_over(issuer: Issuer, order: Order, pair: Pair, before: Status) -> Status:
    try:
        result = issuer.hand_over(pair)
    except NoAnswer as error:
        return due.failed(before, State.NOT_TAKEN, str(error), issuer.now(), retry_after=0, draw=issuer.draw())
    if result.outcome == ConfigurationResult.OUTCOME_APPLIED:
        issuer.pending_file.unlink()
        return due.succeeded(before, pair, order.hostname)
    if result.outcome == ConfigurationResult.OUTCOME_REFUSED:
        # It will not be better the next time.
        issuer.pending_file.unlink()
    why = f"a certificate was issued, and the mail server did not take it up: {result.detail}"
    return due.failed(before, State.NOT_TAKEN, why, issuer.now(), retry_after=0, draw=issuer.draw())


def _compared(issuer: Issuer, order: Order, after: Status) -> Status:
    """Return the status with the names that are certified now, and those that are not."""
    missing = due.missing(_served(issuer), order)
    certified = tuple(name for name in order.further_names if name not in missing)
    return dataclasses.replace(after, certified=certified, missing=missing)


def _pending(issuer: Issuer, order: Order) -> Pair | None:
    """Return the pair that waits to be served, if it still may be."""
    pending = _read_pair(issuer.pending_file)
    if pending is None:
        return None
    try:
        require_servable(pending, order.hostname, due.moment(issuer.now()))
    except InvalidPair:
        issuer.pending_file.unlink()
        return None
    return pending


def _served(issuer: Issuer) -> Pair | None:
    return _read_pair(issuer.served_file)


def _read_pair(path: Path) -> Pair | None:
    try:
        return unpack(path.read_bytes())
    except (FileNotFoundError, InvalidPair):
        return None


def _note(issuer: Issuer, before: Status, after: Status) -> None:
    if after != before:
        _log.info("%s: %s", after.state.value, after.detail)
        write_status(issuer.status_file, after)


if __name__ == "__main__":
    sys.exit(main())
