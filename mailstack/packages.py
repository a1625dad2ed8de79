"""The packages of a mail server, which are its distribution's, and which versions may be asked for."""

import re
from collections.abc import Mapping, Sequence

from mailstack.syntax import InvalidSpec

#: What the bootstrap installs, and what the same sources bring along with it.
MAIL_PACKAGES = frozenset(
    {
        "postfix",
        *("dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-sieve"),
        *("opendkim", "opendkim-tools", "libopendkim11", "librbl1", "libvbr2"),
        *("opendmarc", "libopendmarc2"),
        *("certbot", "python3-certbot", "python3-acme"),
        *("nginx", "nginx-common"),
    }
)
#: A server's own and those of other distributions.
_MOST_VERSIONS = 5
#: Debian Policy, section 5.6.12.
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~:-]{0,99}", re.ASCII)


def checked_versions(wanted: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the packages with the versions that each may be brought to. Raises `InvalidSpec`."""
    if not wanted:
        raise InvalidSpec("no package is named")
    for name, versions in wanted.items():
        if name not in MAIL_PACKAGES:
            raise InvalidSpec(f"{name} is none of {', '.join(sorted(MAIL_PACKAGES))}")
        if not 0 < len(versions) <= _MOST_VERSIONS:
            raise InvalidSpec(f"{name}: give 1 to {_MOST_VERSIONS} versions")
        if unfit := [version for version in versions if not _VERSION.fullmatch(version)]:
            raise InvalidSpec(f"{name}: {unfit[0]!r} is no version of a package")
    return {name: tuple(versions) for name, versions in wanted.items()}
