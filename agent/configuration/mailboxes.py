"""What root does to single mailboxes that move from one server to another.

SECURITY: runs as root. An address reaches a command line or a path only when it is one. Mail is deleted only of an
address that the applied configuration gives no mailbox.
"""

from agent.configuration.told import Refused
from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, StoredFile, must_run
from mailstack.dovecot.render import USERS, copy_configuration
from mailstack.syntax import InvalidSpec, require_address
from protos.agent.v1.commands_pb2 import Command

#: One file for each mailbox that moves away: since when nothing is delivered to it, in seconds since 1970.
_LEFT = "/etc/penguin/left"
#: doveadm-kick(1): no such user is connected.
_NOBODY_TO_KICK = 68


def copy_mailbox(command: Command, host: Host) -> str:
    """Pull over IMAP; doveadm-sync(1) finds out by itself what is here already.

    The host ends a command after a minute; whoever asked asks again then.
    """
    address = checked_address(command.copy_mailbox.address)
    configuration = copy_configuration(address)
    if not host.exists(configuration):
        raise Refused(f"the mailbox {address} is not one that moves here")
    must_run(host, ["doveadm", "-c", configuration, "backup", "-R", "-u", address, "imapc:"])
    return f"copied the mailbox {address}"


def delete_mailbox(command: Command, host: Host) -> str:
    """Delete it; of a mailbox that has moved, only if nothing came too late to be copied."""
    address = _address_without_mailbox(command.delete_mailbox.address, host)
    local_part, _, domain = address.rpartition("@")
    home = f"{layout.MAIL_ROOT}/{domain}/{local_part}"
    left = host.read(f"{_LEFT}/{address}") if command.delete_mailbox.has_moved else None
    if left is not None and (late := _delivered_after(host, f"{home}/Maildir", float(left.content))):
        raise Refused(f"{len(late)} messages for {address} came after its mail was copied, such as {late[0]}")
    host.remove_directory(home)
    host.remove(f"{_LEFT}/{address}")
    return f"deleted the mail of {address}"


def _delivered_after(host: Host, maildir: str, seconds: float) -> list[str]:
    """Return the messages' files that were written later; renaming one, as for flags, leaves that time as it is."""
    folders = ["-path", "*/new/*", "-o", "-path", "*/cur/*", "-o", "-path", "*/tmp/*"]
    find = ["find", maildir, "-type", "f", "-newermt", f"@{seconds:.6f}", "(", *folders, ")"]
    output = host.run(find)
    if output.exit_code != 0 and host.exists(maildir):
        raise CommandFailed(find, output)
    return output.stdout.splitlines()


def end_sessions(command: Command, host: Host) -> str:
    """Send its readers away, and note the time: what is delivered later by a process that was slow is found by it."""
    address = _address_without_mailbox(command.end_sessions.address, host)
    now = f"{host.now().timestamp():.6f}"
    host.write(f"{_LEFT}/{address}", StoredFile(now.encode(), "root", "root", 0o600))
    output = host.run(["doveadm", "kick", address])
    if output.exit_code not in {0, _NOBODY_TO_KICK}:
        raise CommandFailed(["doveadm", "kick"], output)
    return f"nobody is logged in to {address}"


def _address_without_mailbox(address: str, host: Host) -> str:
    users = host.read(USERS)
    if users is None or any(line.startswith(f"{address}:") for line in users.content.decode().splitlines()):
        raise Refused(f"{address} has a mailbox here")
    return checked_address(address)


def checked_address(address: str) -> str:
    """Return an address; raise `Refused` for what is none."""
    try:
        require_address(address)
    except InvalidSpec as error:
        raise Refused(str(error)) from None
    return address
