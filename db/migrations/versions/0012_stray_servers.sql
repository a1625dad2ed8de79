-- What each provider was last seen to have that no row of ours accounts for, and the other way round.

CREATE TABLE provider_looks (
    provider TEXT PRIMARY KEY,
    -- Null until it has answered once.
    looked_at TIMESTAMPTZ,
    -- An operator wants it looked at before its time.
    wanted_at TIMESTAMPTZ,
    -- Why it could not be asked, last time.
    fault TEXT
);

CREATE TABLE stray_servers (
    provider TEXT NOT NULL,
    -- Its name at the provider.
    name TEXT NOT NULL,
    -- 'orphan': it is there and nothing needs it. 'missing': it should be there and is not.
    kind TEXT NOT NULL CHECK (kind IN ('orphan', 'missing')),
    reason TEXT NOT NULL,
    ipv4_address TEXT,
    vps_id UUID,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- An operator said that it may be deleted.
    reap_at TIMESTAMPTZ,
    PRIMARY KEY (provider, name)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON provider_looks, stray_servers TO penguin_system;
