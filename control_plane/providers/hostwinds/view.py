"""An instance of Hostwinds' as `providers.base` describes servers: pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from control_plane.providers.base import PowerState, ProviderServer

_GIB = 1024**3
#: OpenStack's words, which the documentation's fields come from.
_MADE = {"active", "stopped", "shutoff", "suspended", "paused", "rescued"}
_OFF = {"stopped", "shutoff"}
#: `power_state` of OpenStack: 1 is running.
_RUNNING = 1


def view(instance: Mapping[str, Any], monthly: Decimal | None) -> ProviderServer:
    """Return what is known of it. It holds the server's password, which goes nowhere."""
    state = str(instance.get("vm_state") or instance.get("status") or "").lower()
    address = str(instance.get("main_ip") or "")
    task = instance.get("task_state")
    made = state in _MADE and bool(address) and not task
    return ProviderServer(
        provider_id=str(instance["serviceid"]),
        name=str(instance["srvrname"]),
        ipv4_address=address,
        power=PowerState.OFF if state in _OFF else PowerState.RUNNING,
        cores=_whole(instance.get("cpu")),
        memory_bytes=_whole(instance.get("ram")) * 1024**2,
        disk_bytes=_whole(instance.get("disk")) * _GIB,
        monthly_cost=monthly,
        progress=None if made or state == "error" else 50,
        fault="its state there is `error`; remove the server and ask again" if state == "error" else None,
    )


def runs(instance: Mapping[str, Any]) -> bool:
    """Return whether it is switched on."""
    return _whole(instance.get("power_state")) == _RUNNING


def _whole(value: object) -> int:
    return int(str(value)) if str(value).isdecimal() else 0
