"""Which of the few large mailbox providers a recipient is with. Pure.

Counters are kept by provider, so there must be few: whatever is not known is `other`.
"""

OTHER = "other"
PROVIDERS = ("google", "microsoft", "yahoo", "apple", OTHER)

#: Ends of their mail servers' names (what a domain's MX shows), and domains of their own.
_ENDINGS = {
    "google": ("google.com", "googlemail.com", "gmail.com"),
    "microsoft": ("outlook.com", "hotmail.com", "live.com", "msn.com", "office365.us"),
    "yahoo": ("yahoodns.net", "yahoo.com", "ymail.com", "aol.com", "rocketmail.com"),
    "apple": ("icloud.com", "me.com", "mac.com"),
}
_PROVIDER_OF = {ending: provider for provider, endings in _ENDINGS.items() for ending in endings}


def provider_of(host: str) -> str:
    """Return the provider of a mail server's name or of a domain."""
    labels = host.lower().rstrip(".").split(".")
    for length in (2, 3):
        if (provider := _PROVIDER_OF.get(".".join(labels[-length:]))) is not None:
            return provider
    return OTHER


def provider_of_attempt(relay: str, recipient: str) -> str | None:
    """Return the provider of an attempt by the mail log's `relay=` and `to=`; None for delivery on this server."""
    host, _, address = relay.partition("[")
    if address.startswith("private/") or relay in {"local", "virtual", "dovecot", "dovecot-lmtp"}:
        return None
    found = provider_of(host)
    # No connection, or a host of another name in front of it.
    return provider_of(recipient.rpartition("@")[2]) if found == OTHER else found
