-- Releases of the agent, plans to upgrade servers to one, and how each server of a plan stands
-- (control_plane/upgrades).

CREATE TABLE releases (
    -- Version and beginning of the manifest's hash: the folder's name at the downloads door, and on servers.
    name VARCHAR(100) PRIMARY KEY,
    version VARCHAR(100) NOT NULL,
    manifest BYTEA NOT NULL,
    manifest_sha256 CHAR(64) NOT NULL,
    -- Ed25519, and the platform authority's certificate for the key that signed.
    signature BYTEA NOT NULL CHECK (length(signature) = 64),
    certificate BYTEA NOT NULL,
    -- failed: a plan with it was rolled back; proven: one was done.
    state VARCHAR(20) NOT NULL DEFAULT 'offered' CHECK (state IN ('offered', 'failed', 'proven')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE upgrades (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    release VARCHAR(100) NOT NULL REFERENCES releases (name),
    state VARCHAR(20) NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'running', 'rolling_back', 'done', 'rolled_back', 'aborted')),
    -- The ring that is upgraded now, of so many, and since when all its servers have the release.
    ring SMALLINT NOT NULL DEFAULT 0 CHECK (ring BETWEEN 0 AND rings - 1),
    rings SMALLINT NOT NULL CHECK (rings BETWEEN 1 AND 3),
    ring_since TIMESTAMPTZ,
    -- A ring is gone on from after so many attempts to deliver, or so many seconds.
    minimum_sends INTEGER NOT NULL CHECK (minimum_sends >= 0),
    soak_seconds DOUBLE PRECISION NOT NULL CHECK (soak_seconds >= 0),
    -- What a server's new release gets to link.
    patience_seconds DOUBLE PRECISION NOT NULL CHECK (patience_seconds > 0),
    reason TEXT,
    requested_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_upgrades_one ON upgrades ((true)) WHERE state IN ('running', 'rolling_back');

CREATE TABLE upgrade_servers (
    upgrade_id UUID NOT NULL REFERENCES upgrades (id) ON DELETE CASCADE,
    vps_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    ring SMALLINT NOT NULL,
    state VARCHAR(20) NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'asked', 'installed', 'failed', 'reverting', 'reverted')),
    reason TEXT,
    since TIMESTAMPTZ NOT NULL DEFAULT now(),
    told_at TIMESTAMPTZ,
    -- What it was when it was told to upgrade: attempts of the day before by what became of them, and checks that failed.
    past_delivered DOUBLE PRECISION NOT NULL DEFAULT 0,
    past_deferred DOUBLE PRECISION NOT NULL DEFAULT 0,
    past_bounced DOUBLE PRECISION NOT NULL DEFAULT 0,
    failing_before TEXT[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (upgrade_id, vps_id),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id) ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE ON releases, upgrades TO penguin_system;
ALTER TABLE upgrade_servers ENABLE ROW LEVEL SECURITY;
ALTER TABLE upgrade_servers FORCE ROW LEVEL SECURITY;
CREATE POLICY one_tenant ON upgrade_servers TO penguin_api
    USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
CREATE POLICY all_tenants ON upgrade_servers TO penguin_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON upgrade_servers TO penguin_system;
