"""What to write to a provider that keeps port 25 shut until a person asks.

At Hetzner ports 25 and 465 are shut for every new account and there is no call of the API to open them: the account's
owner asks in the Cloud Console, once, after the first paid invoice.
"""

from collections.abc import Mapping

_WHERE: Mapping[str, str] = {
    "hetzner": "in the Hetzner Cloud Console as a request to change the project's limits (to be had once the account's"
    " first invoice is paid)",
}
_ANYWHERE = "to the provider's support"


def port_25_request(provider: str, hostname: str, ipv4_address: str) -> str:
    """Return what the person who is asked has to do, with the words to send."""
    return (
        f"Send this {_WHERE.get(provider, _ANYWHERE)}: “Please open outgoing port 25 (SMTP) for our account. Our server"
        f" {hostname} ({ipv4_address}, with reverse DNS of that name) delivers mail for our own domains to people who"
        " asked for it, signed with DKIM and under SPF and DMARC. Bounces and complaints take an address off at once,"
        f" and each message can be unsubscribed from. Reports of abuse reach us at postmaster@{hostname}.” The port is"
        " tried again every 15 minutes, and at once after `penguin vps preflight`."
    )
