"""The strict forms in which a name may reach a configuration file.

Addresses, domains and selectors come from tenants and end up in lookup tables, in file names and in daemons'
configuration. Each form below leaves out every character that means anything to one of those: white space, control
characters, quotes, `:`, `,`, `#`, `/`, `*` and `$` expansions. What does not fit is refused, never escaped.
"""

import ipaddress
import re

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+\Z){_LABEL}")
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LOCAL_PART = re.compile(r"[a-z0-9_](?:[a-z0-9_-]|\.(?!\.))*(?<!\.)")
_OUTSIDE_LOCAL_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_+='&-]|\.(?!\.))*(?<!\.)")
_ARGON2ID = re.compile(
    r"\{ARGON2ID\}\$argon2id\$v=19\$m=[0-9]{1,7},t=[0-9]{1,3},p=[0-9]{1,3}\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
_PKCS8_PEM = re.compile(rb"-----BEGIN PRIVATE KEY-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END PRIVATE KEY-----\n")
_PROBE_PASSWORD = re.compile(r"[!-~]{16,128}")
_COPY_PASSWORD = re.compile(r"[A-Za-z0-9_-]{16,128}")

_DIRECTORY_URL = re.compile(r"https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~-]+)*/?")
_CERTIFICATES_PEM = re.compile(
    rb"(?:-----BEGIN CERTIFICATE-----\n(?:[A-Za-z0-9+/=]{1,76}\n)+-----END CERTIFICATE-----\n)*"
)

#: RFC 8461 section 3.2, of what we write: one line for each key, lines ended by LF.
_MTA_STS_POLICY = re.compile(
    rf"version: STSv1\nmode: (?:testing|enforce)\n(?:mx: (?:{_LABEL}\.)+{_LABEL}\n)+max_age: [1-9][0-9]{{0,7}}\n"
)

_BACKUP_REPOSITORY = re.compile(
    r"(?:rest:https?://|s3:https?://|b2:[A-Za-z0-9-]+:|azure:[a-z0-9-]+:/|/mnt/|/srv/)[A-Za-z0-9@:%._~/-]+"
)
_CREDENTIAL = re.compile(r"[!-~]{1,500}")
#: Of Azure's storage accounts: their part of a host's name.
_AZURE_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
#: Variables of restic's environment.
BACKUP_CREDENTIALS = frozenset(
    {
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"),
        *("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY", "AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY"),
    }
)

_URL_OCTETS = 500
#: RFC 1035 §2.3.4 without the trailing dot, and RFC 5321 §4.5.3.1.1.
_DOMAIN_OCTETS = 253
_LOCAL_PART_OCTETS = 64


class InvalidSpec(ValueError):
    """A value does not fit the file it would be written to; the message names it, but for secrets."""


def require_domain(name: str) -> None:
    """Accept a fully qualified host or domain name in lower case, international names as A-labels (RFC 5890)."""
    if len(name) > _DOMAIN_OCTETS or not _DOMAIN.fullmatch(name):
        raise InvalidSpec(f"{name!r} is not a domain name in lower case with at least two labels")


def require_selector(selector: str) -> None:
    """Accept a DKIM selector (RFC 6376 §3.1): labels in lower case."""
    if len(selector) > _DOMAIN_OCTETS or not _SELECTOR.fullmatch(selector):
        raise InvalidSpec(f"{selector!r} is not a DKIM selector")


def require_address(address: str) -> None:
    """Accept an address this server receives for.

    In lower case, since lookup tables are searched in lower case; without `+`, which separates a mailbox from what its
    owner adds (`name+list@domain`).
    """
    _require_address(address, _LOCAL_PART, "an address in lower case, of letters, digits, '.', '_' and '-'")


def require_outside_address(address: str) -> None:
    """Accept an address that an alias may point to, here or elsewhere: the dot-atoms in use (RFC 5322 §3.2.3)."""
    _require_address(address, _OUTSIDE_LOCAL_PART, "an address that mail can be redirected to")


def require_password_hash(password_hash: str) -> None:
    """Accept Dovecot's `{ARGON2ID}` hash and no other scheme, least of all `{PLAIN}`."""
    if not _ARGON2ID.fullmatch(password_hash):
        raise InvalidSpec("a password hash is not of the form {ARGON2ID}$argon2id$v=19$m=…,t=…,p=…$salt$hash")


def require_private_key(private_key_pem: bytes) -> None:
    """Accept one unencrypted PKCS#8 key in PEM."""
    if not _PKCS8_PEM.fullmatch(private_key_pem):
        raise InvalidSpec("a DKIM key is not one PKCS#8 private key in PEM")


def require_backup_repository(repository: str) -> None:
    """Accept a place that restic knows and runs no program for, as it does for SFTP; or a folder for mounted disks."""
    if len(repository) > _URL_OCTETS or not _BACKUP_REPOSITORY.fullmatch(repository) or "/../" in f"{repository}/":
        raise InvalidSpec("backups go to rest:https://, s3:https://, b2:name:path, azure:name:/path, /mnt/ or /srv/")


def require_backup_password(password: str) -> None:
    """Accept 16 to 128 printable ASCII characters without spaces."""
    if not _PROBE_PASSWORD.fullmatch(password):
        raise InvalidSpec("the backups' password is not 16 to 128 printable ASCII characters")


def require_backup_credential(name: str, value: str) -> None:
    """Accept what opens a place of backups, and no other variable: restic runs programs that some of its own name."""
    form = _AZURE_ACCOUNT if name == "AZURE_ACCOUNT_NAME" else _CREDENTIAL
    if name not in BACKUP_CREDENTIALS or not form.fullmatch(value):
        raise InvalidSpec(
            f"a credential of backups is none of {', '.join(sorted(BACKUP_CREDENTIALS))}, or not of its form"
        )


def require_probe_password(password: str) -> None:
    """Accept 16 to 128 printable ASCII characters without spaces; it is made by machine."""
    if not _PROBE_PASSWORD.fullmatch(password):
        raise InvalidSpec("the probe's password is not 16 to 128 printable ASCII characters")


def require_copy_password(password: str) -> None:
    """Accept 16 to 128 characters of URL-safe base64 (RFC 4648 §5), which mean nothing in Dovecot's configuration."""
    if not _COPY_PASSWORD.fullmatch(password):
        raise InvalidSpec("the password of a copy is not 16 to 128 characters of URL-safe base64")


def require_directory_url(url: str) -> None:
    """Accept the address of an ACME directory (RFC 8555 §7.1.1): HTTPS, without a user, a query or a fragment."""
    if len(url) > _URL_OCTETS or not _DIRECTORY_URL.fullmatch(url):
        raise InvalidSpec(f"{url!r} is not the https:// URL of an ACME directory")


def require_certificates(certificates_pem: bytes) -> None:
    """Accept any number of certificates in PEM, none among them."""
    if not _CERTIFICATES_PEM.fullmatch(certificates_pem):
        raise InvalidSpec("the roots to trust are not certificates in PEM")


def require_mta_sts_policy(policy: str) -> None:
    """Accept an MTA-STS policy (RFC 8461 §3.2) in one form: version, mode, each mx, max_age."""
    if not _MTA_STS_POLICY.fullmatch(policy):
        raise InvalidSpec("an MTA-STS policy is not of the form version, mode, mx, max_age")


def require_ipv4(address: str) -> None:
    """Accept an IPv4 address in its one usual form."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise InvalidSpec(f"{address!r} is not an IPv4 address") from error


def require_ipv6(address: str) -> None:
    """Accept an IPv6 address in its one usual form (RFC 5952), without a zone."""
    try:
        is_usual = str(ipaddress.IPv6Address(address)) == address and "%" not in address
    except ValueError:
        is_usual = False
    if not is_usual:
        raise InvalidSpec(f"{address!r} is not an IPv6 address in its usual form")


def _require_address(address: str, local_part_form: re.Pattern[str], description: str) -> None:
    local_part, _, domain = address.rpartition("@")
    if len(local_part) > _LOCAL_PART_OCTETS or not local_part_form.fullmatch(local_part):
        raise InvalidSpec(f"{address!r} is not {description}")
    require_domain(domain)
