"""Run a Debian root's own mail daemons and verify them with the product's probe. Started by a test, as

    unshare --net --mount --pid --fork --kill-child python -m tests.flow.mail_daemons ROOT

so that everything it starts, mounts and configures ends with it, and no packet leaves. Prints what the probe says;
exits with 1 when it failed.
"""

import subprocess
import sys
from pathlib import Path

from mailstack import layout
from mailstack.apply.probe import ProbeFailed, verify
from mailstack.certificates.pair import unpack
from tests.golden.spec import SPEC

_NETWORK = (("ip", "link", "set", "lo", "up"), ("ip", "address", "add", f"{SPEC.ipv4_address}/32", "dev", "lo"))
#: The check makes Postfix's queue directories, in which Dovecot opens its sockets.
_DAEMONS = (("postfix", "check"), ("opendkim",), ("opendmarc",), ("dovecot",), ("postfix", "start"))


def main() -> None:
    """Start the daemons, run the probe, stop."""
    root = Path(sys.argv[1])
    commands = [
        *_NETWORK,
        ("mount", "-t", "proc", "proc", f"{root}/proc"),
        ("mount", "--bind", "/dev", f"{root}/dev"),
        *(("chroot", str(root), *daemon) for daemon in _DAEMONS),
    ]
    for command in commands:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        print(verify(SPEC, unpack((root / layout.TLS_PAIR.lstrip("/")).read_bytes()).chain_pem))
    except ProbeFailed as failure:
        print(failure)
        sys.exit(1)


if __name__ == "__main__":
    main()
