-- Operators: the keys that open their REST API, and what they did. No tenant's data, and nothing for the API role.

CREATE TABLE platform_keys (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name VARCHAR(255) NOT NULL,
    prefix VARCHAR(32) NOT NULL UNIQUE,
    secret_sha256 BYTEA NOT NULL CHECK (octet_length(secret_sha256) = 32),
    -- What the key opens, as control_plane/operators/scopes.py names it.
    scopes TEXT[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);

CREATE TABLE operator_acts (
    -- UUID version 7: in the order of the acts.
    id UUID PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- Through which door: 'rest' with a key, 'cli' on the machine itself.
    door VARCHAR(20) NOT NULL CHECK (door IN ('rest', 'cli')),
    key_id UUID REFERENCES platform_keys (id),
    -- The key's name, or the system user's.
    actor VARCHAR(255) NOT NULL,
    -- 'queue.pause' and so on (control_plane/operators/acts.py).
    act VARCHAR(50) NOT NULL,
    -- What it was done to: ids by name.
    subject JSONB NOT NULL,
    reason TEXT,
    -- The request's name in the log.
    request_id VARCHAR(64),
    CHECK ((door = 'rest') = (key_id IS NOT NULL))
);

GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at) ON platform_keys TO penguin_system;
-- What was done stays written.
GRANT SELECT, INSERT ON operator_acts TO penguin_system;
