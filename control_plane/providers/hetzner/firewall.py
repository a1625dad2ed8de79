"""The installation's firewall, found by its name: mail, HTTPS and ping come in, and nothing else.

Port 80 is open only while a certificate is being got, by a second firewall (acme_port.py puts it on one server).
There is no way in for SSH: a server is reached by its agent, and in an emergency by the provider's console.
"""

from hcloud import APIException, Client
from hcloud.firewalls import BoundFirewall, FirewallRule

from control_plane.providers.hetzner.labels import INSTANCE, refuse_foreign

#: Submission with STARTTLS (587) and with TLS (465), IMAP with TLS (993), and what other servers deliver (25).
#: MTA-STS policies and mail programs' settings (443); where there are none nothing listens there.
OPEN_PORTS = (25, 443, 465, 587, 993)
ACME_PORT = 80
_ANYWHERE = ["0.0.0.0/0", "::/0"]


def open_rules() -> list[FirewallRule]:
    """Return what is let in all the time."""
    return [*(_tcp(port) for port in OPEN_PORTS), FirewallRule(direction="in", protocol="icmp", source_ips=_ANYWHERE)]


def ensure_firewall(client: Client, instance: str) -> BoundFirewall:
    """Return the installation's firewall with its rules as they should be."""
    return _ensure(client, f"penguin-{instance}", open_rules(), instance)


def ensure_acme_firewall(client: Client, instance: str) -> BoundFirewall:
    """Return the firewall that lets port 80 in where it is applied."""
    return _ensure(client, f"penguin-{instance}-acme", [_tcp(ACME_PORT)], instance)


def _ensure(client: Client, name: str, rules: list[FirewallRule], instance: str) -> BoundFirewall:
    found = client.firewalls.get_by_name(name) or _create(client, name, rules, instance)
    refuse_foreign(f"the firewall {name}", found.labels, instance)
    if _essence(found.rules or []) != _essence(rules):
        found.set_rules(rules)
    return found


def _create(client: Client, name: str, rules: list[FirewallRule], instance: str) -> BoundFirewall:
    try:
        # The library's annotation says str; it and the API take a mapping.
        labels: dict[str, str] = {INSTANCE: instance}
        return client.firewalls.create(name=name, rules=rules, labels=labels).firewall  # type: ignore[arg-type]
    except APIException as error:
        if error.code != "uniqueness_error" or (found := client.firewalls.get_by_name(name)) is None:
            raise
        return found


def _tcp(port: int) -> FirewallRule:
    return FirewallRule(direction="in", protocol="tcp", port=str(port), source_ips=_ANYWHERE)


def _essence(rules: list[FirewallRule]) -> set[tuple[str, str, str | None, tuple[str, ...]]]:
    return {(rule.direction, rule.protocol, rule.port, tuple(sorted(rule.source_ips))) for rule in rules}
