-- Runs that take back what they did, and runs that wait for a person.

ALTER TABLE pipeline_runs DROP CONSTRAINT pipeline_runs_state_check;
ALTER TABLE pipeline_runs ADD CONSTRAINT pipeline_runs_state_check
    CHECK (state IN ('waiting', 'running', 'needs_person', 'undoing', 'done', 'failed', 'undone'));
-- While a person is waited for: what that person has to do. `error` says why.
ALTER TABLE pipeline_runs ADD COLUMN remedy TEXT;
DROP INDEX idx_pipeline_runs_open;
CREATE INDEX idx_pipeline_runs_open ON pipeline_runs (created_at)
    WHERE state IN ('waiting', 'running', 'needs_person', 'undoing');

-- 'undoing': it was begun and is to be taken back; the last of these is next.
ALTER TABLE pipeline_steps DROP CONSTRAINT pipeline_steps_state_check;
ALTER TABLE pipeline_steps ADD CONSTRAINT pipeline_steps_state_check
    CHECK (state IN ('waiting', 'running', 'done', 'failed', 'undoing', 'undone'));
ALTER TABLE pipeline_steps ADD COLUMN undo_started_at TIMESTAMPTZ;
ALTER TABLE pipeline_steps ADD COLUMN undone_at TIMESTAMPTZ;

-- A tenant may have a run of its own looked at again at once.
GRANT UPDATE (claimed_until) ON pipeline_steps TO penguin_api;
