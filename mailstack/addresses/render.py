"""More addresses of a server than the one it was made with: taken up at once and at each boot, before Postfix.

They are put on the loopback interface as /32, which depends on no interface's name and on none of the programs that
configure networks (ifupdown, networkd, netplan), none of which touches it. Linux answers ARP for them on every
interface (`arp_ignore` 0, its default), and a provider that routes them to the server needs no ARP.
"""

from mailstack.rendered_file import OnChange, RenderedFile
from mailstack.spec import MailServerSpec, Platform

UNIT = "penguin-addresses.service"
#: What ip(8) is told, one command a line.
BATCH = "/etc/penguin/addresses"
#: Marks our addresses among those of the loopback interface.
_LABEL = "lo:penguin"
_UNITS = "/etc/systemd/system"
#: Until here Debian's postfix.service only stands for its instances.
_LAST_WITH_INSTANCES = (3, 8)

_UNIT_FILE = f"""\
# The server's further addresses, written by PenguinMails. Changes made by hand are replaced at the next apply.
[Unit]
Description=PenguinMails addresses

[Service]
Type=oneshot
RemainAfterExit=yes
# In one process, so that an address that stays is away for less than a millisecond.
ExecStart=/usr/bin/env ip -batch {BATCH}
ExecReload=/usr/bin/env ip -batch {BATCH}
ExecStop=/usr/bin/env ip address flush dev lo label {_LABEL}
"""
_DROP_IN = f"""\
# Postfix binds to these addresses; written by PenguinMails.
[Unit]
Wants={UNIT}
After={UNIT}
"""


def render(spec: MailServerSpec, platform: Platform) -> tuple[RenderedFile, ...]:
    """Return the files that take the addresses up; none for a server that has but one."""
    if not spec.sending_addresses:
        return ()
    lines = [f"address flush dev lo label {_LABEL}"]
    lines += [f"address replace {each.ipv4_address}/32 dev lo label {_LABEL}" for each in spec.sending_addresses]
    postfix = "postfix@-.service" if platform.postfix <= _LAST_WITH_INSTANCES else "postfix.service"
    contents = {
        BATCH: "".join(f"{line}\n" for line in lines),
        f"{_UNITS}/{UNIT}": _UNIT_FILE,
        f"{_UNITS}/{postfix}.d/penguin-addresses.conf": _DROP_IN,
    }
    return tuple(RenderedFile(path, text.encode(), (), OnChange.NOTHING) for path, text in contents.items())
