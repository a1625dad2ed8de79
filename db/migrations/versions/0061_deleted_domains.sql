-- The tenants' role deletes nothing: a domain that is deleted is marked, its name is free at once, and the worker
-- deletes the row. Who may delete rows may also lock their table against everybody.

REVOKE DELETE ON domains FROM penguin_api;
ALTER TABLE domains ADD COLUMN deleted_at TIMESTAMPTZ, DROP CONSTRAINT domains_name_key;
GRANT UPDATE (deleted_at) ON domains TO penguin_api;
CREATE UNIQUE INDEX idx_domains_name ON domains (name) WHERE deleted_at IS NULL;
DROP TRIGGER hold_plan_limit ON domains;
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON domains FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('domains', 'deleted_at IS NULL');
