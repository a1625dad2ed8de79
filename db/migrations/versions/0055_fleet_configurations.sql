-- Settings of the whole fleet, which go out by the plans that releases go out by (control_plane/upgrades).

CREATE TABLE fleet_configurations (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- All that is not as it is shipped: names and values as they are written.
    settings JSONB NOT NULL CHECK (jsonb_typeof(settings) = 'object'),
    -- The one that was in force when it was made; it may be tried only while that still is.
    base BIGINT REFERENCES fleet_configurations (number),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- When a plan with it was done; the newest is in force.
    proven_at TIMESTAMPTZ
);
GRANT SELECT, INSERT, UPDATE ON fleet_configurations TO penguin_system;

ALTER TABLE upgrades ALTER COLUMN release DROP NOT NULL;
ALTER TABLE upgrades ADD COLUMN configuration BIGINT REFERENCES fleet_configurations (number);
ALTER TABLE upgrades ADD CONSTRAINT upgrades_one_payload CHECK ((release IS NULL) <> (configuration IS NULL));

-- The desired version with which a server got the configuration, or lost it again.
ALTER TABLE upgrade_servers ADD COLUMN asked_version BIGINT;

-- The configuration that a plan gave it; without one it has that which is in force.
ALTER TABLE vps_servers ADD COLUMN trial_configuration BIGINT REFERENCES fleet_configurations (number);
-- The desired version whose outcome mail_server_status tells.
ALTER TABLE vps_servers ADD COLUMN settled_version BIGINT NOT NULL DEFAULT 0;
