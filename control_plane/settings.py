"""Settings of the control plane's processes, frozen, from `PENGUIN_*` environment variables.

`./penguin up` and `./penguin demo` fill in what the user did not set; a process of its own needs them all. Secrets are
`SecretStr`, so that they do not appear in a `repr` or a log line. What the environment does not say is read from the
credentials that systemd gives a service: files named like the variables, in small letters (`LoadCredential=`,
systemd.exec(5)), which no other process can read.
"""

import ipaddress
import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

#: A process of ours at a host's port.
_TARGET = re.compile(r"[a-z]+@[\w.:\[\]-]+:\d{1,5}")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_private(text: str) -> bool:
    if not _is_address(text):
        return False
    address = ipaddress.ip_address(text)
    return address.is_private and not address.is_unspecified


class Settings(BaseSettings):
    """One frozen value, made once in `processes/` or `cli/` and handed down."""

    model_config = SettingsConfigDict(env_prefix="PENGUIN_", frozen=True)

    #: Where this installation keeps what must survive: the sealing key, local disks.
    state_dir: Path
    #: Where the 32-byte key of `sealing.py` lies, mode 0600; made when there is none.
    sealing_key_file: Path = Field(default_factory=lambda data: data["state_dir"] / "sealing.key")
    #: What the downloads door serves: wheels, manifest and bootstrap. Shared by the installations of one checkout.
    wheelhouse_dir: Path = Field(default_factory=lambda data: data["state_dir"] / "wheelhouse")
    #: Releases that servers can be upgraded to, a folder each; served like the wheelhouse.
    releases_dir: Path = Field(default_factory=lambda data: data["wheelhouse_dir"].parent / "releases")
    #: libpq URLs (postgresql://…), one for each role. A process is given its own role's and not the other.
    api_database_url: SecretStr = SecretStr("")
    system_database_url: SecretStr = SecretStr("")
    #: Of the role that log-in works with; for the api process, beside its own.
    identity_database_url: SecretStr = SecretStr("postgresql://penguin_identity@/penguin")
    #: Of the owner or another who may copy the whole database; for the backups process alone.
    owner_database_url: SecretStr = SecretStr("")
    #: Where backups go, for restic: a path or a URL. No backups process runs without.
    backup_repository: str = ""
    #: redis://, rediss:// or unix:// URL with the control plane's own user; for the hub, the queuer and the api.
    redis_url: SecretStr = SecretStr("")
    #: host:port where agents reach Redis over TLS.
    redis_agent_endpoint: str = "10.77.0.1:7379"
    #: host:port of the agents' doors: enrolment (server TLS), link (mutual TLS), downloads (HTTPS).
    enrol_endpoint: str = "10.77.0.1:7443"
    link_endpoint: str = "10.77.0.1:7444"
    downloads_endpoint: str = "10.77.0.1:7480"
    #: host:port where these doors listen; unset for the endpoint itself, which behind a gateway is the gateway's.
    enrol_listen: str = Field(default_factory=lambda data: data["enrol_endpoint"])
    link_listen: str = Field(default_factory=lambda data: data["link_endpoint"])
    downloads_listen: str = Field(default_factory=lambda data: data["downloads_endpoint"])
    #: Addresses and networks of gateways: whom a REST door believes who its client is (rest/gateways.py).
    trusted_proxies: tuple[str, ...] = ()
    #: Seconds for which a REST door that was told to end serves on, while /healthz tells gateways to look elsewhere.
    rest_drain_seconds: float = Field(default=0.0, ge=0)
    #: SPIFFE trust domain of agents' identities.
    trust_domain: str = "penguin.example"
    #: Servers are named <name>.<platform domain>; its zone is published like a customer's.
    platform_domain: str = "penguin.example"
    #: Where people reach the REST API, as letters and access tokens (`iss`) name it.
    public_url: str = "http://127.0.0.1:8025"
    #: Issuers of OpenID Connect that people may log in by (identity/oidc.py), a JSON file; unset for none.
    oidc_file: Path | None = None
    #: How letters to people leave: smtps:// URL, or smtp:// with STARTTLS, of a submission server, with user and
    #: password; or a platform's own inbox, <tenant id>/<inbox id>. Without either nobody can sign up.
    mail_url: SecretStr = SecretStr("")
    mail_inbox: str = ""
    #: Who letters by `mail_url` are from.
    mail_from: str = "postmaster@penguin.example"
    #: Of the door for SMTP: its name, as its certificate has it, and the certificate's chain and key, PEM files.
    submission_hostname: str = "submission.penguin.example"
    submission_certificate_file: Path | None = None
    submission_key_file: Path | None = None
    #: Unix socket of the local provider's daemon (providers/local/cloud.py); unset where there is none.
    local_cloud_socket: Path | None = None
    #: API token of a Hetzner Cloud project, with read and write access; unset where there is none.
    hetzner_token: SecretStr = SecretStr("")
    #: Whether servers at Hetzner may be asked for, for a process that is not given the token.
    hetzner_offered: bool = False
    #: Where Hetzner's API is; anything but HTTPS only on loopback.
    hetzner_api_url: str = "https://api.hetzner.cloud/v1"
    #: The image that servers at Hetzner are made from.
    hetzner_image: str = "debian-12"
    #: API key of a Hostwinds account, bound to this machine's IPv4 address; unset where there is none.
    hostwinds_api_key: SecretStr = SecretStr("")
    #: Whether servers at Hostwinds may be asked for, for a process that is not given the key.
    hostwinds_offered: bool = False
    hostwinds_api_url: str = "https://clients.hostwinds.com/cloud/api.php"
    #: Hostwinds' ids of the image and of the locations that servers are ordered with; nothing is offered without them.
    hostwinds_template: str = ""
    hostwinds_locations: tuple[str, ...] = ()
    #: The name of an SSH key at Hostwinds, and the file of its private half, by which servers are made to join.
    hostwinds_ssh_key: str = ""
    hostwinds_ssh_key_file: Path | None = None
    #: An order is charged at once: none is sent unless this says so, nor beyond these US dollars a month.
    hostwinds_spending: bool = False
    hostwinds_most_per_server: Decimal = Field(default=Decimal(20), gt=0)
    hostwinds_most_in_all: Decimal = Field(default=Decimal(100), gt=0)
    #: Authoritative servers that verification asks, and resolvers that servers get.
    nameservers: tuple[str, ...] = ("10.77.0.53",)
    #: Days that a DKIM key signs before the next takes its place.
    dkim_rotation_days: int = Field(default=180, gt=0)
    #: PowerDNS HTTP API for publishing.
    powerdns_url: str = "http://10.77.0.53:8081"
    powerdns_api_key: SecretStr = SecretStr("")
    #: address:port of a primary that takes updates by RFC 2136 in PowerDNS's place, and the TSIG key (HMAC-SHA256).
    dns_update_primary: str = ""
    dns_update_key_name: str = ""
    dns_update_secret: SecretStr = SecretStr("")
    #: Whether DNS hosts that tenants name may have addresses that are not public, and PowerDNS's API plain HTTP.
    dns_private_endpoints: bool = False
    #: Where Cloudflare's API is; anything but HTTPS only on loopback.
    cloudflare_api_url: str = "https://api.cloudflare.com/client/v4"
    #: Further providers of octoDNS that tenants may choose (dns/publishers/operators_list.py); unset for none.
    dns_octodns_file: Path | None = None
    #: ACME directory (RFC 8555) of the authority that issues servers' certificates; empty: each shows one that it has
    #: signed itself, which other mail servers take (RFC 7435) and mail programs warn of.
    acme_directory: str = ""
    #: Where that authority writes to, such as when it will stop serving us.
    acme_email: str = "postmaster@penguin.example"
    #: How it sees that a name is ours (RFC 8555, section 8): it asks back at a server's port 80, or looks for a record
    #: that is published for it at the installation's own DNS host.
    acme_challenge: Literal["http-01", "dns-01"] = "http-01"
    #: What servers trust for the directory's own HTTPS, a PEM file; unset for what their operating system trusts.
    acme_roots_file: Path | None = None
    #: What servers' own certificates are judged by when MTA-STS policies are looked at, a PEM file; unset for what this
    #: operating system trusts, as other mail servers do.
    mail_roots_file: Path | None = None
    #: Seconds a lease lasts, and the clock tolerance added before a send is leased again.
    lease_seconds: int = 300
    lease_tolerance_seconds: int = 30
    #: Seconds by which a server's clock may differ from ours; beyond that it is not leased to. Less than the tolerance
    #: of leases, so that no server is leased to whose idea of a deadline is past that.
    clock_tolerance_seconds: int = 10
    #: Mail hosts, host:port, that a new server's agent must be able to reach before the server is used; the port is 25.
    port25_probe: tuple[str, ...] = ()
    #: Where we ourselves greet such probes, host:port; unset for nowhere.
    port25_listen: str | None = None
    #: Lists of addresses to ask in place of those shipped (preflight/blocklists.json); asked about private ones, too.
    blocklists_file: Path | None = None
    #: Rules of alerts and of self-healing in place of those shipped (monitoring/alert_rules.json, healing/rules.json).
    alert_rules_file: Path | None = None
    healing_rules_file: Path | None = None
    #: Seconds after which a server in use is looked at again: port 25, reverse DNS, blocklists (which have rules of how
    #: often they may be asked). What is not well is looked at after a quarter of an hour.
    look_again_seconds: int = Field(default=6 * 3600, ge=900)
    #: Addresses that are tried in place of one that is refused.
    address_attempts: int = Field(default=3, ge=0, le=10)
    #: Envelopes that may wait in one server's streams; the rest stays in PostgreSQL.
    stream_depth: int = 1000
    #: Bytes that messages of more than 64 KiB may have in them, 4:5:1 by priority. A stream may exceed its share by one
    #: message, or by what one round of each queuer leases (16 MiB); when it has none, it always gets one.
    stream_bytes: int = Field(default=64 * 1024 * 1024, gt=0)
    #: Seconds for which a server's removal waits by itself for its queue to be empty; then a person decides.
    drain_seconds: int = Field(default=6 * 3600, ge=0)
    #: Whether webhooks may lead to addresses that are not public, by plain HTTP too: for tests of a local installation.
    webhook_private_targets: bool = False
    #: The form of the log's lines: JSON objects for machines, or text for people.
    log: Literal["json", "text"] = "text"
    #: Where this process answers GET /metrics: address:port, not a public one, or a Unix socket's path; empty: nowhere.
    metrics_listen: str = ""
    #: The processes' metrics doors, each process@host:port, for Prometheus' service discovery at the operators' door.
    metrics_targets: tuple[str, ...] = ()
    #: Seconds for which the old server of an inbox that moved passes mail on, once DNS names the new one: the records'
    #: TTL (dns/records.py), and an hour for those who look at it less often.
    move_forward_seconds: int = Field(default=2 * 3600, ge=0)
    #: URL of an OTLP/HTTP receiver for traces of sends, such as http://127.0.0.1:4318/v1/traces; empty for none.
    otlp_endpoint: str = ""
    #: The share of sends that is traced.
    otlp_share: float = Field(default=0.01, ge=0, le=1)
    #: Where values of servers' reports go on to, by Prometheus' remote write 1.0: the http:// or https:// URL of a
    #: receiver that the hub reaches, with user and password where it wants them; empty for nowhere.
    remote_write_url: SecretStr = SecretStr("")
    #: Seconds between servers' health reports. No more than 15: that a server is silent is known by two that are missed
    #: (fleet/hearing.py), and a dead one is to be known in 30.
    report_interval_seconds: float = Field(default=15.0, ge=1, le=15)

    @model_validator(mode="after")
    def _clocks_are_held_to_less_than_leases(self) -> "Settings":
        if self.clock_tolerance_seconds >= self.lease_tolerance_seconds:
            raise ValueError("clock_tolerance_seconds must be less than lease_tolerance_seconds")
        return self

    @model_validator(mode="after")
    def _values_go_over_http(self) -> "Settings":
        url = self.remote_write_url.get_secret_value()
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("remote_write_url must begin with https:// or http://")
        return self

    @model_validator(mode="after")
    def _webhooks_stay_outside(self) -> "Settings":
        if self.webhook_private_targets and self.local_cloud_socket is None:
            raise ValueError("webhook_private_targets is for an installation whose servers are local")
        return self

    @model_validator(mode="after")
    def _probes_name_port_25(self) -> "Settings":
        for probe in self.port25_probe:
            if not probe.endswith(":25") or not probe[:-3]:
                raise ValueError(f"port25_probe names hosts as host:25, and not {probe}")
        return self

    @model_validator(mode="after")
    def _metrics_are_not_public(self) -> "Settings":
        if self.metrics_listen and not self.metrics_listen.startswith("/"):
            address, _, port = self.metrics_listen.rpartition(":")
            if not (_is_private(address.strip("[]")) and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError("metrics_listen must be address:port, the address not public, or a socket's path")
        return self

    @model_validator(mode="after")
    def _targets_name_processes(self) -> "Settings":
        for target in self.metrics_targets:
            if not _TARGET.fullmatch(target):
                raise ValueError(f"metrics_targets names process@host:port, and not {target}")
        return self

    @model_validator(mode="after")
    def _updates_have_a_primary_and_a_key(self) -> "Settings":
        if self.dns_update_primary:
            address, _, port = self.dns_update_primary.rpartition(":")
            if not (_is_address(address.strip("[]")) and port.isdigit() and 0 < int(port) < 65536):
                raise ValueError("dns_update_primary must be address:port")
            if not (self.dns_update_key_name and self.dns_update_secret.get_secret_value()):
                raise ValueError("dns_update_primary needs dns_update_key_name and dns_update_secret")
        return self

    @model_validator(mode="after")
    def _tokens_go_over_tls(self) -> "Settings":
        for name in ("hetzner_api_url", "hostwinds_api_url", "cloudflare_api_url"):
            if not getattr(self, name).startswith(("https://", "http://127.0.0.1:", "http://[::1]:")):
                raise ValueError(f"{name} must begin with https://")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, the environment, and systemd's credentials, in this order."""
        credentials = SecretsSettingsSource(settings_cls, secrets_dir=os.environ.get("CREDENTIALS_DIRECTORY"))
        return (init_settings, env_settings, credentials)

    @model_validator(mode="after")
    def _proxies_are_networks(self) -> "Settings":
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise ValueError(f"trusted_proxies names addresses and networks, and not {proxy}") from None
        return self
