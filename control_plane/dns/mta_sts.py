"""MTA-STS policies (RFC 8461): what a domain's mail servers promise to those that send to them. Pure.

The id in DNS is made from the policy's text, so it changes when the policy does and at no other time.
"""

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds that a policy holds with whoever has fetched it. RFC 8461 asks for weeks where it is enforced; while it is
#: tried out a mistake should be over in a day.
_MAX_AGE = {"testing": 86400, "enforce": 604800}
#: The host below the domain, and the place there (section 3.3).
HOST_LABEL = "mta-sts"
PATH = "/.well-known/mta-sts.txt"


class MtaSts(enum.StrEnum):
    """What a domain asks for; the names are part of the REST contract."""

    NONE = "none"
    #: Others report what would fail, and deliver all the same.
    TESTING = "testing"
    #: Others deliver to the named servers over verified TLS, or not at all.
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is shown, in `testing` or `enforce`; `hosts` are the servers that take the domain's mail."""

    mode: MtaSts
    hosts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The file (section 3.2), as mailstack/syntax.py takes it."""
        mx = "".join(f"mx: {host}\n" for host in self.hosts)
        return f"version: STSv1\nmode: {self.mode}\n{mx}max_age: {_MAX_AGE[self.mode]}\n"

    @property
    def id(self) -> str:
        """What tells it from another (section 3.1): letters and digits, at most 32."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:32]


def policy_of(mta_sts: str, hosts: Sequence[str]) -> Policy | None:
    """Return the policy of a domain that asks for it and has servers, else None."""
    if mta_sts == MtaSts.NONE or not hosts:
        return None
    return Policy(MtaSts(mta_sts), tuple(sorted(hosts)))
