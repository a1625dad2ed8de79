-- How long things are kept (control_plane/privacy/retention.py), and the end of a tenant (privacy/end_of_tenant.py).

-- Messages that still have their content, by when they came to their end.
CREATE INDEX idx_messages_payloads ON messages (final_at) WHERE final_at IS NOT NULL AND octet_length(payload) > 0;
GRANT SELECT (expires_at, token_sha256), DELETE ON one_time_tokens, sign_ups TO penguin_system;
GRANT SELECT (id, expires_at, ended_at, working_in), UPDATE (working_in), DELETE ON sessions TO penguin_system;

-- Of a tenant that was erased its row stays, with where its chain of deeds ended.
ALTER TABLE tenants
    DROP CONSTRAINT tenants_state_check,
    ADD CONSTRAINT tenants_state_check CHECK (state IN ('active', 'suspended', 'erasing', 'erased')),
    ADD COLUMN erased_at TIMESTAMPTZ,
    ADD COLUMN audit_position BIGINT,
    ADD COLUMN audit_hash BYTEA CHECK (octet_length(audit_hash) = 32),
    ADD CHECK ((state = 'erased') = (erased_at IS NOT NULL));

-- Whatever a tenant has goes with it.
DO $$
DECLARE
    name TEXT;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('GRANT SELECT, DELETE ON %I TO penguin_system', name);
    END LOOP;
END
$$;

-- Deeds go only with their tenant.
CREATE FUNCTION deeds_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tenants t WHERE t.id = OLD.tenant_id AND t.state = 'erasing') THEN
        RAISE EXCEPTION 'deeds of a tenant that is not being erased stay';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER deeds_stay BEFORE DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION deeds_stay();
