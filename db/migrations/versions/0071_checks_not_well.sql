-- The checks that are not well of so many servers at once (GET /fleet/health): one in thirty of what their key finds.
CREATE INDEX idx_health_checks_not_well ON health_checks (vps_id) WHERE state <> 'ok';
