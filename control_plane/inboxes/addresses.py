"""Mail addresses: RFC 5321's syntax in ASCII, and domains as A-labels (RFC 5891).

Addresses that need SMTPUTF8 (RFC 6531) are refused, at each door alike: many servers do not take them, and Postfix
would bounce the mail later where a clear error can be given now. So the part before the @ has one spelling, and no two
of its Unicode forms need to be told for one; a domain's forms all come to the same A-labels. Address literals
(`user@[192.0.2.1]`) are refused as well.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import idna

from control_plane.errors import InvalidInput

#: RFC 5321, section 4.5.3.1, as RFC 3696's erratum 1690 reads it: a path of 256 octets less its angle brackets.
MAX_ADDRESS = 254
MAX_LOCAL_PART = 64
MAX_DOMAIN = 253

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[ !#-\[\]-~]|\\[ -~])*"')
# What our own mailboxes may be called: a part of what is legal, without what means something to a path, a shell,
# a lookup table or an address extension.
_MAILBOX_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An address that is fit for SMTP: ASCII, its domain lower case in A-labels."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"


def parse_address(address: str, field: str) -> EmailAddress:
    """Return the address of a recipient; raise `InvalidInput` naming `field` (a JSON pointer) when it is none."""
    local_part, at, domain = address.rpartition("@")
    if not at:
        raise InvalidInput("An address has the form name@domain.", field)
    if len(local_part) > MAX_LOCAL_PART:
        raise InvalidInput(f"The part before the @ may be {MAX_LOCAL_PART} characters long.", field)
    if needs_smtputf8(local_part):
        raise InvalidInput("The part before the @ is not ASCII; addresses of SMTPUTF8 (RFC 6531) are not taken.", field)
    if not _LOCAL_PART.fullmatch(local_part):
        raise InvalidInput("The part before the @ is not valid (RFC 5321, section 4.1.2).", field)
    parsed = EmailAddress(local_part, parse_domain(domain, field))
    if len(str(parsed)) > MAX_ADDRESS:
        raise InvalidInput(f"An address may be {MAX_ADDRESS} characters long.", field)
    return parsed


def needs_smtputf8(local_part: str) -> bool:
    """Return whether no server but one that offers SMTPUTF8 knows whom this part before an @ stands for."""
    return not local_part.isascii()


def parse_mailbox_address(address: str, field: str) -> EmailAddress:
    """Return an address for an inbox of ours: lower case, its name of letters, digits and inner `.`, `_`, `-`."""
    parsed = parse_address(address.lower(), field)
    if not _MAILBOX_NAME.fullmatch(parsed.local_part) or ".." in parsed.local_part:
        raise InvalidInput("An inbox's name has letters, digits and, between them, '.', '_' and '-'.", field)
    return parsed


@lru_cache(maxsize=4096)
def parse_domain(domain: str, field: str) -> str:
    """Return a fully qualified domain in lower-case A-labels, without a trailing dot; raise `InvalidInput`."""
    labels = _to_ascii(domain, field).split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        raise InvalidInput("The domain is not fully qualified.", field)
    if sum(map(len, labels)) + len(labels) - 1 > MAX_DOMAIN:
        raise InvalidInput(f"A domain may be {MAX_DOMAIN} characters long.", field)
    if not all(len(label) <= 63 and _LABEL.fullmatch(label) for label in labels):
        raise InvalidInput("The domain is not valid.", field)
    return ".".join(labels)


def _to_ascii(domain: str, field: str) -> str:
    """Return A-labels; ASCII that is no A-label itself needs no look at the Unicode tables."""
    if domain.isascii() and "xn--" not in domain.lower():
        return domain.lower()
    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # IDNAError is one
        raise InvalidInput("The domain is not valid (RFC 5891).", field) from None
