"""Which providers this installation has, by the key in `vps_servers.provider`."""

from collections.abc import Mapping

from control_plane.errors import InvalidInput
from control_plane.providers.base import Capability, Provider, StatesPrices
from control_plane.providers.byo.provider import ByoProvider
from control_plane.providers.hetzner.client import Account
from control_plane.providers.hetzner.labels import instance_label
from control_plane.providers.hetzner.pace import SharedPace, Unpaced
from control_plane.providers.hetzner.provider import HetznerProvider
from control_plane.providers.hostwinds.catalogue import Allowance
from control_plane.providers.hostwinds.client import Access
from control_plane.providers.hostwinds.provider import Account as HostwindsAccount
from control_plane.providers.hostwinds.provider import HostwindsProvider
from control_plane.providers.hostwinds.ssh import Login
from control_plane.providers.local.provider import LocalProvider
from control_plane.settings import Settings
from db.session import Database

#: What a person who chooses one of these must know.
NOTES = {
    "hostwinds": "documented, not verified live; charges at once",
    "byo": "your own server: see `penguin node join-command`",
}


def build_providers(settings: Settings, database: Database | None = None) -> Mapping[str, Provider]:
    """Return the providers that the settings describe.

    `database` is the system role's, in which workers share rate limits. A process that only says what is offered has
    none, and need not have the tokens either.
    """
    providers: list[Provider] = []
    if settings.local_cloud_socket is not None:
        providers.append(LocalProvider(settings.local_cloud_socket))
    if settings.hetzner_token.get_secret_value() or settings.hetzner_offered:
        providers.append(_hetzner(settings, database))
    if hostwinds_is_offered(settings):
        providers.append(HostwindsProvider(hostwinds_account(settings), database))
    providers.append(ByoProvider(database, settings.nameservers))
    return {provider.key: provider for provider in providers}


def pricing_provider(settings: Settings, key: str) -> StatesPrices:
    """Return a provider that states prices; raise `InvalidInput`, naming those there are, for any other."""
    providers = build_providers(settings)
    stating = {key: found for key, found in providers.items() if Capability.PRICES in found.capabilities}
    if not isinstance(found := stating.get(key), StatesPrices):
        hint = "" if stating else "; for Hetzner, set PENGUIN_HETZNER_TOKEN to an API token of the project"
        raise InvalidInput(f"no provider {key!r} here states prices; there is: {', '.join(stating) or 'none'}{hint}")
    return found


def hostwinds_is_offered(settings: Settings) -> bool:
    """Return whether there is a key, here or in another process, and what to order with."""
    key = settings.hostwinds_api_key.get_secret_value() or settings.hostwinds_offered
    return bool(key and settings.hostwinds_template and settings.hostwinds_locations)


def hostwinds_account(settings: Settings) -> HostwindsAccount:
    """Return the account that the settings describe."""
    return HostwindsAccount(
        access=Access(settings.hostwinds_api_url, settings.hostwinds_api_key),
        allowance=Allowance(
            settings.hostwinds_spending, settings.hostwinds_most_per_server, settings.hostwinds_most_in_all
        ),
        template=settings.hostwinds_template,
        locations=settings.hostwinds_locations,
        ssh_key=settings.hostwinds_ssh_key,
        login=Login(
            settings.hostwinds_ssh_key_file or settings.state_dir / "hostwinds-ssh.key",
            settings.state_dir / "hostwinds-known-hosts",
        ),
    )


def _hetzner(settings: Settings, database: Database | None) -> HetznerProvider:
    account = Account(
        token=settings.hetzner_token,
        api_url=settings.hetzner_api_url,
        instance=instance_label(settings.platform_domain),
        image=settings.hetzner_image,
    )
    return HetznerProvider(account, SharedPace(database, settings.hetzner_token) if database is not None else Unpaced())
