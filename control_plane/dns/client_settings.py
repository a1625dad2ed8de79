"""Hosts of a domain that mail programs ask for their settings, and when it has them. Pure.

`autoconfig` is asked by Thunderbird and those that do as it does, `autodiscover` by Outlook, which looks for it by SRV
as well. What they are told are files that do not depend on who asks (mailstack/nginx).
"""

from collections.abc import Sequence

AUTOCONFIG, AUTODISCOVER = LABELS = ("autoconfig", "autodiscover")


def has_settings(*, asked_for: bool, hosts: Sequence[str]) -> bool:
    """Say whether a domain has them: all are told of one server, so all its mailboxes must be there."""
    return asked_for and len(hosts) == 1
