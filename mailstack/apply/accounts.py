"""What must exist on the server before any file: the mail account, group memberships, directories, the log."""

from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, StoredFile, must_run

#: Postfix reaches the milters' sockets as a member of their groups.
_POSTFIX_GROUPS = frozenset({"opendkim", "opendmarc"})
#: groupadd(8), "exit values": the name is not unique.
_GROUP_IS_THERE = 9


def prepare(host: Host) -> None:
    """Make what is missing. Nothing of it is taken back by a roll-back: it does no harm by itself."""
    if host.groups_of(layout.MAIL_USER) is None:
        _make_group(host)
        useradd = ("useradd", "--uid", str(layout.MAIL_USER_ID), "--gid", str(layout.MAIL_USER_ID))
        nobody = ("--no-create-home", "--home-dir", layout.MAIL_ROOT, "--shell", "/usr/sbin/nologin")
        must_run(host, (*useradd, *nobody, layout.MAIL_USER))
    missing = _POSTFIX_GROUPS - (host.groups_of("postfix") or frozenset())
    if missing:
        must_run(host, ("usermod", "--append", "--groups", ",".join(sorted(missing)), "postfix"))
    host.make_directory(layout.MAIL_ROOT, layout.MAIL_USER, layout.MAIL_USER, 0o750)
    _open_log_to_its_group(host)


def _make_group(host: Host) -> None:
    """Make the account's group; one that is there is left from an apply that was cut off before it made the account."""
    groupadd = ("groupadd", "--gid", str(layout.MAIL_USER_ID), layout.MAIL_USER)
    output = host.run(groupadd)
    if output.exit_code not in {0, _GROUP_IS_THERE}:
        raise CommandFailed(groupadd, output)


def _open_log_to_its_group(host: Host) -> None:
    """Make the log before Postfix does, who would let nobody but root read it; one that is there is left alone."""
    if not host.exists(layout.MAIL_LOG):
        host.write(layout.MAIL_LOG, StoredFile(b"", "root", layout.MAIL_LOG_GROUP, 0o640))
