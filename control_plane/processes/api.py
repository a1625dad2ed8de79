"""The api process: serves REST for tenants.

`python -m control_plane.processes.api`, with settings from PENGUIN_* and the listening sockets as inherited file
descriptors, as rest_server.py says.

It connects to PostgreSQL only, as the role penguin_api, and exits at once with another role. Any number of these may
run side by side.
"""

from control_plane.processes.rest_server import serve
from control_plane.rest.app import make_app
from control_plane.settings import Settings


def main() -> None:
    """Serve until told to end."""
    settings = Settings.model_validate({})
    serve(make_app(settings), settings)


if __name__ == "__main__":
    main()
