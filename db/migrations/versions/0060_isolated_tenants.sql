-- Sends and their events lie in partitions: `…_shared` has those of all tenants, but for tenants that were moved out
-- (control_plane/tenancy/isolation.py), each of which has partitions of its own in a schema of its own.
--
-- A row says itself where it lies, by `isolated`: so there is no default partition, which would have to be searched
-- under a lock to take a new one, and a row moves from one to the other by an update. Events follow their send by the
-- foreign key. A send that sends another again lies where that lies.

ALTER TABLE tenants ADD COLUMN isolated BOOLEAN NOT NULL DEFAULT false;

-- ---------------------------------------------------------------- policies of partitions

CREATE FUNCTION write_policy(
    target REGCLASS, name NAME, kind TEXT, command TEXT, roles TEXT, shown TEXT, taken TEXT
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', name, target, kind, command, roles)
        || coalesce(' USING (' || shown || ')', '') || coalesce(' WITH CHECK (' || taken || ')', '');
END
$$;

-- The policies of a table as they are written.
CREATE FUNCTION written_policies(guarded REGCLASS)
RETURNS TABLE (relation TEXT, name NAME, kind TEXT, command TEXT, roles TEXT, shown TEXT, taken TEXT)
LANGUAGE sql STABLE AS $$
    SELECT c.relname::text, p.polname, CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                         ELSE 'ALL' END,
           array_to_string(p.polroles::regrole[], ', '), pg_get_expr(p.polqual, p.polrelid),
           pg_get_expr(p.polwithcheck, p.polrelid)
    FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
    WHERE p.polrelid = guarded
    ORDER BY p.polname
$$;

-- Force the policies of a table, and no others, on a partition of it.
CREATE FUNCTION guard_partition(partition REGCLASS, guarded REGCLASS) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    policy RECORD;
    own_name TEXT := (SELECT relname FROM pg_class WHERE oid = partition);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', partition);
    FOR policy IN SELECT name FROM written_policies(partition) LOOP
        EXECUTE format('DROP POLICY %I ON %s', policy.name, partition);
    END LOOP;
    FOR policy IN SELECT * FROM written_policies(guarded) LOOP
        PERFORM write_policy(partition, policy.name, policy.kind, policy.command, policy.roles,
                             replace(policy.shown, policy.relation || '.', own_name || '.'),
                             replace(policy.taken, policy.relation || '.', own_name || '.'));
    END LOOP;
END
$$;
-- They are for the owner, and would do nothing for anybody else.
REVOKE EXECUTE ON FUNCTION write_policy(regclass, name, text, text, text, text, text), written_policies(regclass),
    guard_partition(regclass, regclass) FROM PUBLIC;

CREATE TEMPORARY TABLE kept_policies ON COMMIT DROP AS
SELECT * FROM written_policies('messages') UNION ALL SELECT * FROM written_policies('message_events');

-- ---------------------------------------------------------------- what there is becomes everybody's partition

-- A key that is left of a send that is gone answers that there is none; sends go with their tenant alone, and then their
-- keys go first.
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_tenant_id_message_id_fkey;
DROP TRIGGER tell_of_sends ON message_events;
ALTER TABLE message_events
    DROP CONSTRAINT message_events_tenant_id_message_id_fkey,
    DROP CONSTRAINT message_events_pkey,
    ADD COLUMN isolated BOOLEAN NOT NULL DEFAULT false;
DROP INDEX idx_messages_resend_of;
ALTER TABLE messages
    DROP CONSTRAINT messages_tenant_id_resend_of_fkey,
    DROP CONSTRAINT messages_pkey,
    ADD COLUMN isolated BOOLEAN NOT NULL DEFAULT false;

DO $$
DECLARE
    index_name TEXT;
    relation REGCLASS;
    key TEXT;
BEGIN
    -- The names are wanted for the keys of the tables to come.
    FOR relation, key IN
        SELECT conrelid, conname FROM pg_constraint
        WHERE conrelid IN ('messages'::regclass, 'message_events'::regclass) AND contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', relation, key,
                       replace(key, relation::text, relation::text || '_shared'));
    END LOOP;
    FOR index_name IN SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 'idx\_messages\_%' LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', index_name,
                       replace(index_name, 'idx_messages_', 'idx_messages_shared_'));
    END LOOP;
END
$$;
ALTER TABLE messages RENAME TO messages_shared;
ALTER TABLE message_events RENAME TO message_events_shared;
ALTER TABLE messages_shared ADD CONSTRAINT messages_shared_pkey PRIMARY KEY (tenant_id, id, isolated);
ALTER TABLE message_events_shared
    ADD CONSTRAINT message_events_shared_pkey PRIMARY KEY (tenant_id, message_id, event_id, isolated);

-- ---------------------------------------------------------------- the tables

CREATE TABLE messages (
    LIKE messages_shared INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS,
    PRIMARY KEY (tenant_id, id, isolated),
    FOREIGN KEY (tenant_id) REFERENCES tenants (id),
    FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id),
    FOREIGN KEY (tenant_id, vps_id) REFERENCES vps_servers (tenant_id, id),
    FOREIGN KEY (tenant_id, inbox_id) REFERENCES inboxes (tenant_id, id) ON DELETE SET NULL (inbox_id)
) PARTITION BY LIST (isolated);
CREATE INDEX idx_messages_waiting ON messages (vps_id, priority, inbox_id, send_at, id) WHERE state = 'accepted';
CREATE INDEX idx_messages_leased ON messages (vps_id, lease_deadline) WHERE state = 'queued';
CREATE INDEX idx_messages_leased_large ON messages (vps_id, priority)
    WHERE state = 'queued' AND octet_length(payload) > 65536;
CREATE INDEX idx_messages_relayed ON messages (vps_id, relayed_at) WHERE state = 'relayed';
CREATE INDEX idx_messages_dead ON messages (vps_id, id) WHERE state = 'dead';
CREATE INDEX idx_messages_silent ON messages (silent_since)
    WHERE silent_since IS NOT NULL AND state IN ('accepted', 'dead');
CREATE INDEX idx_messages_workspace ON messages (tenant_id, workspace_id, id);
CREATE INDEX idx_messages_inbox ON messages (tenant_id, inbox_id, id);
CREATE INDEX idx_messages_recipient ON messages (tenant_id, recipient_folded, id);
CREATE INDEX idx_messages_not_delivered ON messages (tenant_id, state, id)
    WHERE state IN ('bounced', 'expired', 'failed', 'cancelled', 'suppressed', 'uncertain', 'dead');
CREATE INDEX idx_messages_payloads ON messages (final_at) WHERE final_at IS NOT NULL AND octet_length(payload) > 0;
-- Once among all partitions: all that send one send again lie where that lies.
CREATE UNIQUE INDEX idx_messages_resend_of ON messages (tenant_id, resend_of, isolated) WHERE resend_of IS NOT NULL;

CREATE TABLE message_events (
    LIKE message_events_shared INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS,
    PRIMARY KEY (tenant_id, message_id, event_id, isolated),
    FOREIGN KEY (tenant_id) REFERENCES tenants (id)
) PARTITION BY LIST (isolated);

ALTER TABLE messages ATTACH PARTITION messages_shared FOR VALUES IN (false);
ALTER TABLE message_events ATTACH PARTITION message_events_shared FOR VALUES IN (false);
CREATE TABLE messages_isolated PARTITION OF messages FOR VALUES IN (true) PARTITION BY LIST (tenant_id);
CREATE TABLE message_events_isolated PARTITION OF message_events FOR VALUES IN (true) PARTITION BY LIST (tenant_id);

ALTER TABLE messages ADD FOREIGN KEY (tenant_id, resend_of, isolated) REFERENCES messages (tenant_id, id, isolated)
    ON UPDATE CASCADE ON DELETE SET NULL (resend_of);
ALTER TABLE message_events ADD FOREIGN KEY (tenant_id, message_id, isolated)
    REFERENCES messages (tenant_id, id, isolated) ON UPDATE CASCADE ON DELETE CASCADE;

CREATE TRIGGER tell_of_sends AFTER INSERT ON message_events REFERENCING NEW TABLE AS seen
    FOR EACH STATEMENT EXECUTE FUNCTION tell_of_sends();

-- ---------------------------------------------------------------- row-level security and grants

-- The same on a table and on each of its partitions, for which nobody has a grant: they are reached through the table.
DO $$
DECLARE
    kept RECORD;
    relation TEXT;
BEGIN
    FOREACH relation IN ARRAY ARRAY['messages', 'message_events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
    END LOOP;
    FOR kept IN SELECT * FROM kept_policies LOOP
        PERFORM write_policy(kept.relation, kept.name, kept.kind, kept.command, kept.roles, kept.shown, kept.taken);
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['messages', 'message_events'] LOOP
        PERFORM guard_partition(to_regclass(relation || '_shared'), to_regclass(relation));
        PERFORM guard_partition(to_regclass(relation || '_isolated'), to_regclass(relation));
    END LOOP;
END
$$;
-- A key refers to its send no more.
ALTER POLICY own_workspaces ON idempotency_keys WITH CHECK (
    CASE WHEN (SELECT nullif(current_setting('app.workspaces', true), '')) IS NULL THEN true
         ELSE within = (SELECT nullif(current_setting('app.workspaces', true), '')) END);
REVOKE ALL ON messages_shared, message_events_shared FROM penguin_api, penguin_system;
DO $$
DECLARE
    relation TEXT;
    granted TEXT;
BEGIN
    -- Rights to columns are not taken away with those to the table.
    FOR relation, granted IN
        SELECT a.attrelid::regclass::text, quote_ident(a.attname) FROM pg_attribute a
        WHERE a.attrelid IN ('messages_shared'::regclass, 'message_events_shared'::regclass)
          AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        EXECUTE format('REVOKE ALL (%s) ON %s FROM penguin_api, penguin_system', granted, relation);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON messages, message_events TO penguin_system;
GRANT SELECT, INSERT ON message_events TO penguin_api;
GRANT SELECT (tenant_id, id, workspace_id, inbox_id, vps_id, priority, state, state_reason, envelope_sender, recipient,
        signing_domain, subject, payload, send_at, leases, silent_since, queue_id, accepted_at, queued_at, relayed_at,
        final_at, resend_of, recipient_folded, isolated),
    INSERT, UPDATE (state, state_reason, final_at) ON messages TO penguin_api;
