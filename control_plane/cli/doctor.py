"""`doctor`: look, with the operator's own key and by calls that only read, whether a provider answers as documented."""

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated

import typer

from control_plane.cli.output import FAILED, Instance, Json, print_json
from control_plane.cli.tables import print_table
from control_plane.errors import InvalidInput
from control_plane.processes.places import state_dir
from control_plane.providers.base import SIZES, ProviderError
from control_plane.providers.hostwinds.catalogue import CURRENCY, choose, read_plans
from control_plane.providers.hostwinds.client import Deadline, ask, rendered
from control_plane.providers.hostwinds.envelope import Refusal
from control_plane.providers.hostwinds.provider import Account
from control_plane.providers.registry import NOTES, hostwinds_account, hostwinds_is_offered
from control_plane.settings import Settings


class Patient(StrEnum):
    """What can be looked at."""

    HOSTWINDS = "hostwinds"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    works: bool
    says: str


def doctor(
    provider: Annotated[Patient, typer.Argument(help="Which provider.")],
    as_json: Json = False,
    instance: Instance = "main",
) -> None:
    """Say what works at a provider. Nothing is ordered or changed, and the key is masked. Exit code 1: not all does."""
    settings = Settings(state_dir=state_dir(instance))
    if not settings.hostwinds_api_key.get_secret_value():
        raise InvalidInput("set PENGUIN_HOSTWINDS_API_KEY to the API key of your Hostwinds account")
    findings = asyncio.run(examine(settings))
    rows = [asdict(finding) for finding in findings]
    if as_json:
        print_json({"provider": provider, "note": NOTES[provider], "findings": rows})
    else:
        print_table([{**row, "works": "yes" if row["works"] else "NO"} for row in rows])
    if not all(finding.works for finding in findings):
        sys.exit(FAILED)


async def examine(settings: Settings) -> Sequence[Finding]:
    """Ask Hostwinds what may be asked for nothing, and look at the settings beside it."""
    account = hostwinds_account(settings)
    return [
        Finding("key", works=True, says=masked(settings.hostwinds_api_key.get_secret_value())),
        await _finding("get_instances", _instances(account)),
        await _finding("get_price_list", _plans(account)),
        _offered(settings),
        _spending(settings),
        _ssh_key(settings, account),
    ]


def masked(key: str) -> str:
    """Return enough of a key to tell it from another."""
    return f"{key[:3]}…{key[-2:]} ({len(key)} characters)" if len(key) >= 16 else f"… ({len(key)} characters)"


async def _finding(what: str, look: Awaitable[str]) -> Finding:
    try:
        return Finding(what, works=True, says=await look)
    except ProviderError as error:
        return Finding(what, works=False, says=str(error))
    except Refusal as refusal:
        return Finding(what, works=False, says=str(rendered(refusal)))


async def _instances(account: Account) -> str:
    found = await ask(account.access, Deadline(), "get_instances")
    unread = [each for each in found if not {"serviceid", "srvrname"} <= each.keys()]
    if unread:
        raise ProviderError(f"{len(unread)} of {len(found)} servers have no serviceid or srvrname, which are needed")
    ours = sum(str(each["srvrname"]).startswith("pm-") for each in found)
    return f"{len(found)} servers, {ours} of them named like ours"


async def _plans(account: Account) -> str:
    found = await ask(account.access, Deadline(), "get_price_list")
    plans = read_plans(found)
    if not plans:
        raise ProviderError(f"none of the {len(found)} plans can be read")
    fitting = [f"{size}: {plan.name} at {plan.monthly} {CURRENCY}" for size in SIZES if (plan := choose(size, plans))]
    return f"{len(plans)} of {len(found)} plans can be read; a month of {', '.join(fitting)}"


def _offered(settings: Settings) -> Finding:
    needed = "PENGUIN_HOSTWINDS_TEMPLATE and PENGUIN_HOSTWINDS_LOCATIONS name the image and the places"
    offered = hostwinds_is_offered(settings)
    return Finding("settings", works=offered, says=needed if offered else f"set them: {needed}")


def _spending(settings: Settings) -> Finding:
    most = (
        f"{settings.hostwinds_most_per_server} {CURRENCY} a month for a server, {settings.hostwinds_most_in_all} in all"
    )
    allowed = settings.hostwinds_spending
    return Finding("spending", allowed, most if allowed else f"PENGUIN_HOSTWINDS_SPENDING=true would allow {most}")


def _ssh_key(settings: Settings, account: Account) -> Finding:
    there = bool(settings.hostwinds_ssh_key) and account.login.key_file.is_file()
    needed = "PENGUIN_HOSTWINDS_SSH_KEY (its name there) and PENGUIN_HOSTWINDS_SSH_KEY_FILE (its private half)"
    return Finding("ssh key", there, f"by {needed}" if there else f"set {needed}")
