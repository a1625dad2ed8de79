"""What a notice says, for people. Pure."""

from collections.abc import Mapping
from typing import Any

_MOST_NAMES = 20


def title_of(kind: str, body: Mapping[str, Any]) -> str:
    """Return one line."""
    state = "over" if "resolved_at" in body else body.get("severity")
    match kind:
        case "opened" | "resolved":
            return f"[{state}] {_about(body)}: {body['rule']}"
        case "escalated":
            return f"[{body['severity']}, nobody looks] {_about(body)}: {body['rule']}"
        case "outage":
            return f"[{body['severity']}] outage at {body['provider']} {body['region']}: {body['servers']} servers"
        case "outage_over":
            return f"[over] outage at {body['provider']} {body['region']}"
        case _:
            return "PenguinMails: a test of this channel"


def text_of(kind: str, body: Mapping[str, Any]) -> str:
    """Return a few lines without markup."""
    if kind == "test":
        return "Alerts will be told here."
    lines = [str(body["sentence"])] if "sentence" in body else []
    if names := body.get("hostnames"):
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        lines.append(f"Silent: {', '.join(names[:_MOST_NAMES])}{more}.")
    if "hostname" in body:
        lines.append(f"Server {body['hostname']} ({body['vps_id']}) at {body['provider']} {body['region']}.")
    lines.append(f"Opened at {body['opened_at']}.")
    if "resolved_at" in body:
        lines.append(f"Over since {body['resolved_at']}.")
    if "alert_id" in body and kind != "resolved":
        lines.append(f"You look at it: penguin alerts ack {body['alert_id']}")
    return "\n".join(lines)


def _about(body: Mapping[str, Any]) -> str:
    return str(body.get("hostname", "the installation"))
