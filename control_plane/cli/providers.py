"""`provider`: where servers can be had, what each can do, and what its servers cost now.

Read from the settings in the environment and, for prices, from the provider itself: no installation need run.
"""

import asyncio
from enum import StrEnum
from typing import Annotated, Any

import typer

from control_plane.cli.actor import this_user
from control_plane.cli.installation import system_session
from control_plane.cli.output import Instance, Json, print_json, say
from control_plane.cli.tables import print_table
from control_plane.errors import NotFound
from control_plane.operators.acts import Act, record
from control_plane.processes.places import HOME, Places, state_dir
from control_plane.providers.base import Price, Provider
from control_plane.providers.hostwinds.orders import forget_order
from control_plane.providers.local.world import World
from control_plane.providers.registry import NOTES, build_providers, pricing_provider
from control_plane.settings import Settings


class Charging(StrEnum):
    """Providers that charge for an order at once and answer without an id."""

    HOSTWINDS = "hostwinds"


provider_commands = typer.Typer(no_args_is_help=True, help="Providers of servers: what they offer, and prices.")

Name = Annotated[str, typer.Argument(help="A provider, as `provider list` names it.")]


@provider_commands.command("list")
def list_providers(as_json: Json = False, instance: Instance = "main") -> None:
    """List the providers that are configured, with their sizes, regions and capabilities."""
    rows = [_fields(provider) for provider in build_providers(_settings(instance)).values()]
    if as_json:
        print_json(rows)
        return
    print_table([{name: _joined(value) for name, value in row.items()} for row in rows])
    if len(rows) == 1:
        print("For servers to rent: set PENGUIN_HETZNER_TOKEN for Hetzner; local servers come with `up`.")


@provider_commands.command()
def prices(name: Name, as_json: Json = False, instance: Instance = "main") -> None:
    """Show what a provider's servers and addresses cost, net and gross, asked of the provider itself."""
    found = asyncio.run(_prices(name, instance))
    rows = [_price_fields(price) for price in found]
    print_json(rows) if as_json else print_table(rows)


@provider_commands.command("forget-order")
def forget(
    name: Annotated[Charging, typer.Argument(help="The provider.")],
    server: Annotated[str, typer.Argument(help="The server's name there, as the reason of its run gives it.")],
    instance: Instance = "main",
) -> None:
    """Say that an order without an answer was never placed: you looked, and there is no such server or invoice."""
    if not asyncio.run(_forget(instance, name, server)):
        raise NotFound(f"there is no unresolved order for {server} at {name}")
    say(f"the order for {server} is forgotten; its run orders it anew")


async def _forget(instance: str, provider: Charging, server: str) -> bool:
    async with system_session(instance) as session:
        was_there = await forget_order(session, server)
        if was_there:
            await record(session, this_user(), Act.FORGET_ORDER, {"provider": provider, "name": server})
        return was_there


async def _prices(name: str, instance: str) -> list[Price]:
    return list(await pricing_provider(_settings(instance), name).prices())


def _settings(instance: str) -> Settings:
    state = state_dir(instance)
    places = Places(state, World(state).id, wheelhouse=HOME / "wheelhouse", images=HOME / "images")
    # There while the installation's cloud runs.
    socket = places.cloud_socket if places.cloud_socket.exists() else None
    return Settings(state_dir=state, local_cloud_socket=socket)


def _fields(provider: Provider) -> dict[str, Any]:
    return {
        "provider": provider.key,
        "sizes": list(provider.sizes),
        "regions": list(provider.regions),
        "capabilities": sorted(capability.value for capability in provider.capabilities),
        "note": NOTES.get(provider.key, ""),
    }


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _price_fields(price: Price) -> dict[str, Any]:
    return {
        "what": price.what,
        "location": price.location,
        "currency": price.currency,
        "hourly_net": f"{price.hourly_net:.4f}",
        "hourly_gross": f"{price.hourly_gross:.4f}",
        "monthly_net": f"{price.monthly_net:.2f}",
        "monthly_gross": f"{price.monthly_gross:.2f}",
    }
