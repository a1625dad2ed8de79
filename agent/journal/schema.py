"""The journal's tables, and opening them."""

import os
import sqlite3
from pathlib import Path

from agent.journal.errors import JournalCorrupt

SCHEMA_VERSION = 3
#: What this release can work on as it is. A release that makes another is installed only over one that has it here
#: already, or nothing could go back (agent/upgrade/machine.py).
READABLE = frozenset({SCHEMA_VERSION})
#: "PnAJ": tells an agent's journal from any other SQLite file.
_APPLICATION_ID = 0x506E414A

# Envelopes live apart from the rows that change state, so that a change does not rewrite the message.
_TABLES = """
CREATE TABLE sends (
    id INTEGER PRIMARY KEY,
    send_id BLOB NOT NULL UNIQUE CHECK (length(send_id) = 16),
    state TEXT NOT NULL CHECK (state IN ('intent', 'submitting', 'relayed', 'delivered', 'bounced', 'expired',
                                         'lease_expired', 'failed', 'uncertain')),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 2),
    lease_token BLOB NOT NULL CHECK (length(lease_token) = 16),
    lease_number INTEGER NOT NULL DEFAULT 0,
    -- The latest of all its leases.
    lease_deadline_ms INTEGER NOT NULL,
    -- The same by the clock of the boot in which it was taken: setting the wall clock lengthens no lease.
    boot_id TEXT NOT NULL DEFAULT '',
    boot_deadline_ms INTEGER NOT NULL DEFAULT 0,
    -- While submitting: the id under which Postfix has begun it. From relayed on: the id under which it has it.
    queue_id TEXT,
    relayed_ms INTEGER,
    -- The event that ended it (DeliveryEvent), to tell again under a new lease.
    outcome BLOB,
    -- The control plane has said that it will never be leased again.
    closed INTEGER NOT NULL DEFAULT 0,
    changed_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sends_open ON sends (state) WHERE state IN ('intent', 'submitting', 'relayed');
CREATE INDEX sends_in_postfix ON sends (queue_id) WHERE state IN ('submitting', 'relayed', 'uncertain');
CREATE INDEX sends_by_age ON sends (changed_ms);

CREATE TABLE envelopes (
    id INTEGER PRIMARY KEY REFERENCES sends (id),
    envelope BLOB NOT NULL
) STRICT;

-- Events in the order in which they were made, until the control plane confirms them.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id BLOB NOT NULL UNIQUE CHECK (length(event_id) = 16),
    send_id BLOB NOT NULL,
    event BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_send ON events (send_id);

CREATE TABLE log_cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    inode INTEGER NOT NULL,
    position INTEGER NOT NULL,
    tail BLOB NOT NULL,
    memory TEXT NOT NULL
) STRICT;

-- Stream entries that are no envelope, for an operator to look at.
CREATE TABLE malformed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    entry_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (stream, entry_id)
) STRICT;

CREATE TABLE numbers (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
-- log_hole_ms: when it was last found that lines of the mail log had gone unread; 0 for never.
-- forgotten_until_ms: the latest deadline of any lease of a send that was forgotten.
-- stopped_in_order: 1 from when an agent was told to stop until the next has begun.
INSERT INTO numbers VALUES
    ('malformed_envelopes', 0), ('malformed_log_lines', 0), ('log_hole_ms', 0), ('forgotten_until_ms', 0),
    ('stopped_in_order', 0);
"""

#: From each older version to the next.
_UPGRADES = {
    1: """
ALTER TABLE sends ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE sends ADD COLUMN boot_deadline_ms INTEGER NOT NULL DEFAULT 0;
""",
    2: """
ALTER TABLE sends ADD COLUMN lease_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sends ADD COLUMN closed INTEGER NOT NULL DEFAULT 0;
INSERT INTO numbers VALUES ('forgotten_until_ms', 0), ('stopped_in_order', 0);
""",
}


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal at `path`, made when it is missing. It may be used from one thread at a time.

    Raises:
        JournalCorrupt: it is damaged, of another kind or version, or another process has it open.

    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise JournalCorrupt(f"{path} cannot be opened: {error}") from error
    except JournalCorrupt:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    # Exclusive: two agents on one journal would both submit.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own scratch of each statement; as files it doubles the cost of every change.
    connection.execute("PRAGMA temp_store = MEMORY")
    # KiB, half of the default: each server pays for it, and what is in hand is far smaller.
    connection.execute("PRAGMA cache_size = -1024")
    damage = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise JournalCorrupt(f"{path} is damaged: {damage}")
    (kind,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (kind, version) == (0, 0) and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        _create(connection)
    elif kind != _APPLICATION_ID:
        raise JournalCorrupt(f"{path} is no journal of this agent")
    elif version in _UPGRADES:
        _upgrade(connection, version)
    elif version not in READABLE:
        raise JournalCorrupt(f"{path} has schema version {version}; this agent knows version {SCHEMA_VERSION}")


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript(
        f"BEGIN IMMEDIATE;{_TABLES}"
        f"PRAGMA application_id = {_APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA_VERSION};"
        "COMMIT;"
    )


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    for each in range(version, SCHEMA_VERSION):
        connection.executescript(f"BEGIN IMMEDIATE;{_UPGRADES[each]}PRAGMA user_version = {each + 1};COMMIT;")
