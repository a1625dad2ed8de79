-- What is done about files that somebody edits on a server.

ALTER TABLE vps_servers ADD COLUMN drift_policy TEXT NOT NULL DEFAULT 'mend' CHECK (drift_policy IN ('mend', 'show'));

-- Whoever may change what a server should be raises its version with it.
GRANT SELECT (drift_policy), UPDATE (drift_policy, desired_version) ON vps_servers TO penguin_api;
