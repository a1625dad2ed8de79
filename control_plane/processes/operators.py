"""The operators' process: serves REST for operators.

`python -m control_plane.processes.operators`, with settings from PENGUIN_* and the listening sockets as inherited file
descriptors, as rest_server.py says. It connects to PostgreSQL only, as the role penguin_system, which sees all tenants;
that is why it is not the api process. It exits at once with a role that could bypass row-level security.

SECURITY: whoever holds an operator's key sees across tenants. Its socket is on loopback, apart from the tenants'.
"""

from control_plane.processes.rest_server import serve
from control_plane.rest.operators.app import make_operators_app
from control_plane.settings import Settings


def main() -> None:
    """Serve until told to end."""
    settings = Settings.model_validate({})
    serve(make_operators_app(settings), settings)


if __name__ == "__main__":
    main()
