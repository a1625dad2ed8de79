"""penguin-agent selfcheck: whether this release can run on this server, before anything is switched to it.

Imports all six programs, so a missing or broken dependency shows, and reads what came with the server's user-data. It
runs in a process of its own, for the network half never loads the root half's libraries. Status 0 means yes; otherwise
one line says why not.
"""

import ssl
import sys

from agent import __main__ as network_half
from agent.acme import issue
from agent.backup import run as backup
from agent.configuration import root_half
from agent.packages import run as packages
from agent.settings import Settings, SettingsError, read_join
from agent.upgrade import run as upgrade

PROGRAMS = (network_half.main, root_half.main, issue.main, upgrade.main, packages.main, backup.main)


def main() -> int:
    """Check; return the exit status."""
    settings = Settings()
    try:
        join = read_join(settings.join_file)
        ssl.create_default_context(cafile=str(settings.pinned_ca_file))
    except (SettingsError, OSError) as error:
        print(f"penguin-agent selfcheck: {error}", file=sys.stderr)
        return 1
    print(f"penguin-agent selfcheck: ok, version {network_half.agent_version()}, enrols at {join.enrol_endpoint}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
