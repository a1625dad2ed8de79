"""The secrets of a deployment, each where only the process that needs it is given it (deploy/systemd).

One folder for each service, of files named like the settings. What is there already is kept: the sealing key above
all, without which nothing sealed in the database can be opened again.
"""

from pathlib import Path

from control_plane.processes.database_roles import DatabaseUrls
from control_plane.sealing import load_or_create_key

#: Beside the services' folders: the key that theirs are copies of.
SEALING_KEY = "sealing_key"
#: What each service is given; nothing else of it.
GIVEN = {
    "penguinmails-api": ("api_database_url", "identity_database_url", "redis_url", SEALING_KEY),
    "penguinmails-submission": ("api_database_url", "redis_url"),
    "penguinmails-operators": ("system_database_url",),
    "penguinmails-hub": ("system_database_url", "redis_url", SEALING_KEY),
    "penguinmails-queuer": ("system_database_url", "redis_url"),
    "penguinmails-worker": ("system_database_url", SEALING_KEY),
    "penguinmails-downloads": ("system_database_url", SEALING_KEY),
    # Where it runs, the operator adds the URL of a role that the others must not have (deploy/README.md).
    "penguinmails-backups": (),
}


def write_credentials(folder: Path, urls: DatabaseUrls, redis_url: str) -> None:
    """Write each service's credentials below `folder`, mode 0600 in folders of mode 0700."""
    values = {
        "api_database_url": urls.api.encode(),
        "identity_database_url": urls.identity.encode(),
        "system_database_url": urls.system.encode(),
        "redis_url": redis_url.encode(),
        SEALING_KEY: load_or_create_key(folder / SEALING_KEY),
    }
    for service, names in GIVEN.items():
        (folder / service).mkdir(mode=0o700, exist_ok=True)
        for name in names:
            file = folder / service / name
            file.touch(mode=0o600)
            file.write_bytes(values[name])
