"""The log of each of the agent's programs: JSON, one object a line, which systemd's journal keeps."""

import json
from pathlib import Path

from log_lines.lines import be_server, start_logging


def start_own_log(identity_dir: Path) -> None:
    """Write the log as the control plane writes its own, each line with this server's id where that may be read.

    Before a server is enrolled it has none.
    """
    start_logging("json")
    try:
        be_server(str(json.loads((identity_dir / "enrolment.json").read_bytes())["vps_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return
