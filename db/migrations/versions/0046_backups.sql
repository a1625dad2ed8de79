-- What came of copies of the database and of tests that restore them (control_plane/backups). No tenant's data.
CREATE TABLE backup_results (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    -- copy: one was saved. restore_test: one was restored and compared.
    kind TEXT NOT NULL CHECK (kind IN ('copy', 'restore_test')),
    began_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ok BOOLEAN NOT NULL,
    sentence TEXT NOT NULL
);
CREATE INDEX idx_backup_results_newest ON backup_results (kind, ended_at);
GRANT SELECT, INSERT, DELETE ON backup_results TO penguin_system;

-- What is wrong with the platform itself is told to the same channels as what is wrong with servers.
ALTER TABLE alert_notices
    DROP CONSTRAINT alert_notices_kind_check,
    ADD CONSTRAINT alert_notices_kind_check
        CHECK (kind IN ('opened', 'escalated', 'resolved', 'outage', 'outage_over', 'test', 'platform'));
