"""How the addresses of one server share what a server may do to others.

Postfix limits processes and connections per transport, and each address is a transport of its own. A receiver counts
what comes from one operator, so ten transports with the limits of one would be ten times too many: what one may do is
divided among them. Rounded up for processes, which only cost memory, and down for connections, but never to none.
"""

from dataclasses import dataclass

from mailstack.spec import MailServerSpec

#: Processes of a whole server (main.cf says why).
PROCESSES = 30


@dataclass(frozen=True, slots=True)
class Share:
    """One address's transport: its name in master.cf, what it binds to and says in HELO, and its part of the limits."""

    transport: str
    ipv4_address: str
    hostname: str
    senders: tuple[str, ...]
    concurrency: int
    processes: int


def shares(spec: MailServerSpec) -> tuple[Share, ...]:
    """Return one share for each further address, by address; none when the server has but its own."""
    parts = len(spec.sending_addresses) + 1
    return tuple(
        Share(
            transport=f"out-{each.ipv4_address.replace('.', '-')}",
            ipv4_address=each.ipv4_address,
            hostname=each.hostname,
            senders=each.senders,
            concurrency=max(1, spec.tunables.smtp_destination_concurrency_limit // parts),
            processes=-(-PROCESSES // parts),
        )
        for each in sorted(spec.sending_addresses, key=lambda each: each.ipv4_address)
    )
