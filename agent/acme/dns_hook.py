"""certbot's hook for DNS-01 (RFC 8555, section 8.4): asks for the TXT records that the authority looks for, and waits.

    python dns_hook.py ASK SHOWN SECONDS

certbot runs it for one name after the other before it has the authority look at any. So what each wants is put by, and
the last asks for all of them: they go into the file ASK, which the health report brings to the control plane; that
publishes them, sees them at every name server, and says so by a command, upon which the root half writes their values
into the file SHOWN. certbot goes on whatever a hook says, and a look in vain counts against us; so while a record is
not known to be there, this waits, and `certbot.py` gives the whole attempt up before it does.

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
    by = put_by(ask)
    wanted = json.loads(by.read_text()) if by.exists() else []
    wanted.append(
        {"name": f"_acme-challenge.{os.environ['CERTBOT_DOMAIN']}", "value": os.environ["CERTBOT_VALIDATION"]}
    )
    by.write_text(json.dumps(wanted))
    if int(os.environ["CERTBOT_REMAINING_CHALLENGES"]):
        return 0
    # Whole, for all to read.
    by.chmod(0o644)
    by.replace(ask)
    return _wait({challenge["value"] for challenge in wanted}, shown, seconds)


def put_by(ask: Path) -> Path:
    """Return where records are put by until all of them are asked for."""
    return ask.with_name(f".{ask.name}.new")


def _wait(values: set[str], shown: Path, seconds: float) -> int:
    end = time.monotonic() + seconds
    while not values <= values_shown(shown):
        if time.monotonic() > end:
            return 1
        time.sleep(_LOOK_SECONDS)
    return 0


def values_shown(path: Path) -> set[str]:
    """Return what is known to be there."""
    try:
        return set(path.read_text().split())
    except FileNotFoundError:
        return set()


if __name__ == "__main__":
    sys.exit(main())
