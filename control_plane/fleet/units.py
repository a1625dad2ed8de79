"""Which of a server's daemons it cannot send mail without, and which of those stand still. Pure."""

from collections.abc import Sequence

from protos.agent.v1.telemetry_pb2 import HealthReport, Unit

#: By the beginning of their units' names. On Debian 12 `postfix.service` is a name for all instances, and active while
#: they are wanted; on 13 it is the server itself.
_NEEDED = ("postfix.service", "postfix@-", "dovecot", "opendkim")
#: On the way from one state to the other, as during a restart.
_PASSING = frozenset({"activating", "deactivating", "reloading"})


def stopped_units(report: HealthReport) -> list[str]:
    """Return the needed units that do not run and are not on the way, by name."""
    return sorted(unit.name for unit in _needed(report) if _is_stopped(unit))


def passing_units(report: HealthReport) -> list[str]:
    """Return the needed units that are being started or stopped."""
    return sorted(unit.name for unit in _needed(report) if unit.active_state in _PASSING and not _is_stopped(unit))


def _needed(report: HealthReport) -> Sequence[Unit]:
    return [unit for unit in report.units if unit.name.startswith(_NEEDED)]


def _is_stopped(unit: Unit) -> bool:
    # One that ends as often as it is started is on the way for ever.
    return unit.active_state not in _PASSING | {"active"} or unit.sub_state == "auto-restart"
