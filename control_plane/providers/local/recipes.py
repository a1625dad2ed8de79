"""What is in the images of local servers.

A recipe is a value; its digest names the folder that the baked image lives in, so a changed recipe is baked anew and an
unchanged one never is. No mirror is named: mmdebstrap's default ones are used, with updates and security.
"""

import dataclasses
import hashlib
import json

#: Raise when `image.py` changes what it makes of the same recipe.
BAKING_VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """One image: Debian suite, packages, files over them, and commands run in it at the end."""

    name: str
    suite: str
    packages: tuple[str, ...]
    #: (absolute path in the image, content)
    files: tuple[tuple[str, str], ...] = ()
    #: Argument lists, run in order by chroot.
    commands: tuple[tuple[str, ...], ...] = ()

    @property
    def digest(self) -> str:
        """The name of the image's folder."""
        text = json.dumps([BAKING_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


_SERVER_PACKAGES = (
    *("systemd-sysv", "dbus", "iproute2", "iputils-ping", "procps", "ca-certificates", "curl", "python3"),
    *("openssh-server", "nftables", "cloud-init", "openssl", "dnsutils", "sqlite3"),
)
_MAIL_PACKAGES = (
    *("postfix", "dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-sieve"),
    # dbconfig-no-thanks: opendmarc would bring a MySQL client otherwise
    *("opendkim", "opendkim-tools", "opendmarc", "dbconfig-no-thanks"),
    *("spamassassin", "spamc", "spamd", "spamass-milter", "certbot", "nginx"),
    # Elsewhere it is installed where it is needed; there is no way to a package source from here.
    "restic",
)
_NAMESERVER_PACKAGES = ("pdns-server", "pdns-backend-sqlite3")
_AUTHORITY_PACKAGES = ("pebble",)

#: Installed but not started: on a server the agent starts what it has configured.
_DORMANT_UNITS = (
    *("postfix.service", "dovecot.service", "opendkim.service", "opendmarc.service"),
    *("spamd.service", "spamass-milter.service", "certbot.timer", "pdns.service"),
    "nginx.service",
)
#: Jobs of a real machine that would only cost time here, and consoles and devices that a container has not.
_MASKED_UNITS = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "dpkg-db-backup.timer"),
    *("getty.target", "console-getty.service", "dev-hugepages.mount", "sys-fs-fuse-connections.mount"),
    "systemd-pstore.service",
)

#: The provider's own cloud-init settings, as every cloud bakes some into its images; user-data overrides them.
#: The modules left out look for what no local server has (disks to grow, snaps, EC2, puppet ...).
_CLOUD_CONFIG = """\
datasource_list: [ NoCloud, None ]
network: { config: disabled }
# there is no locales database, and the address is the provider's to set
locale: false
manage_etc_hosts: false
# the ed25519 host key is laid down with the disk; making RSA keys costs half a second
ssh_deletekeys: false
ssh_genkeytypes: []
disable_root: false
users: []
cloud_init_modules: [ bootcmd, write-files, set_hostname, users-groups, ssh ]
cloud_config_modules: [ runcmd ]
cloud_final_modules: [ write-files-deferred, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, \
final-message ]
"""

#: A server of the local provider, and the nameserver and the certificate authority beside it.
BOOKWORM = Recipe(
    name="bookworm",
    suite="bookworm",
    packages=(*_SERVER_PACKAGES, *_MAIL_PACKAGES, *_NAMESERVER_PACKAGES, *_AUTHORITY_PACKAGES),
    files=(("/etc/cloud/cloud.cfg.d/95_local_provider.cfg", _CLOUD_CONFIG),),
    commands=(
        ("systemctl", "disable", "--quiet", *_DORMANT_UNITS),
        ("systemctl", "mask", "--quiet", *_MASKED_UNITS),
        # the name of the machine that baked the image
        ("postconf", "-X", "myhostname"),
    ),
)

#: For checks of the configuration of Postfix 3.10 and Dovecot 2.4; nothing boots from it.
TRIXIE = Recipe(
    name="trixie",
    suite="trixie",
    packages=(
        *("postfix", "dovecot-core", "dovecot-imapd", "dovecot-lmtpd", "dovecot-sieve"),
        *("opendkim", "opendmarc", "dbconfig-no-thanks", "openssl", "ca-certificates", "nginx"),
    ),
    commands=(("postconf", "-X", "myhostname"),),
)
