"""certbot's hook for DNS-01 (RFC 8555, section 8.4): asks for the TXT record that the authority looks for, and waits.

    python dns_hook.py ASK SHOWN SECONDS

certbot runs it before it has the authority look. What is wanted goes into the file ASK, which the health report brings
to the control plane; that publishes it, sees it at every name server, and says so by a command, upon which the root
half writes the value into the file SHOWN. certbot goes on whatever a hook says, and a look in vain counts against us;
so while the record is not known to be there, this waits, and `certbot.py` gives the whole attempt up before it does.

It is run by its path and imports the standard library alone. Values come from certbot's environment and go into JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

_LOOK_SECONDS = 0.2


def main() -> int:
    """Return the exit status: 1 when the time is over."""
    ask, shown, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    value = os.environ["CERTBOT_VALIDATION"]
    wanted = {"name": f"_acme-challenge.{os.environ['CERTBOT_DOMAIN']}", "value": value}
    _replace(ask, json.dumps(wanted))
    end = time.monotonic() + seconds
    while not _is_shown(shown, value):
        if time.monotonic() > end:
            return 1
        time.sleep(_LOOK_SECONDS)
    return 0


def _replace(path: Path, content: str) -> None:
    """Replace the file, whole, for all to read."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(content)
    new.chmod(0o644)
    new.replace(path)


def _is_shown(path: Path, value: str) -> bool:
    try:
        return path.read_text().strip() == value
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
