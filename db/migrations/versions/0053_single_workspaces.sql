-- Callers of single workspaces: API keys, members and invitations that are for named workspaces of a tenant.
--
-- A transaction of such a caller names its workspaces in app.workspaces, beside the tenant (db/session.py): an array,
-- as in '{<id>,<id>}'. Unset, or '', it is the whole tenant's. Policies that restrict hold each table to it, over and
-- above those of the tenant: a table with a workspace by that, one that hangs on another by whether that row is seen.
--
-- The setting is read in a sub-select, once for a statement and not for each row, and a CASE looks at nothing more where
-- no workspaces are named. IS NOT NULL around it is for the planner, which takes nearly all rows to pass that: of an OR
-- it would take one in a hundred to pass, of the bare CASE one in two, and leave the indexes that lists walk along.

-- ---------------------------------------------------------------- whose workspaces

ALTER TABLE api_keys ADD COLUMN workspaces UUID[] CHECK (cardinality(workspaces) > 0);
ALTER TABLE memberships ADD COLUMN workspaces UUID[] CHECK (cardinality(workspaces) > 0),
    ADD CHECK (workspaces IS NULL OR role IN ('admin', 'member', 'read-only'));
ALTER TABLE invitations ADD COLUMN workspaces UUID[] CHECK (cardinality(workspaces) > 0),
    ADD CHECK (workspaces IS NULL OR role IN ('admin', 'member', 'read-only'));

-- What a foreign key would say, of each in the array. A workspace's row stays as long as its tenant's.
CREATE FUNCTION hold_named_workspaces() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(NEW.workspaces) AS named (id)
               WHERE NOT EXISTS (SELECT FROM workspaces w WHERE w.tenant_id = NEW.tenant_id AND w.id = named.id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', MESSAGE = 'there is no such workspace';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER hold_named_workspaces BEFORE INSERT OR UPDATE OF workspaces ON api_keys FOR EACH ROW
    WHEN (NEW.workspaces IS NOT NULL) EXECUTE FUNCTION hold_named_workspaces();
CREATE TRIGGER hold_named_workspaces BEFORE INSERT OR UPDATE OF workspaces ON memberships FOR EACH ROW
    WHEN (NEW.workspaces IS NOT NULL) EXECUTE FUNCTION hold_named_workspaces();
CREATE TRIGGER hold_named_workspaces BEFORE INSERT OR UPDATE OF workspaces ON invitations FOR EACH ROW
    WHEN (NEW.workspaces IS NOT NULL) EXECUTE FUNCTION hold_named_workspaces();

GRANT INSERT (workspaces) ON api_keys TO penguin_api;
GRANT UPDATE (workspaces) ON memberships TO penguin_api;
GRANT SELECT (workspaces), INSERT (workspaces) ON invitations TO penguin_api;
GRANT INSERT (workspaces), UPDATE (workspaces) ON memberships TO penguin_identity;

-- ---------------------------------------------------------------- domains and runs

-- The workspace of a domain's inboxes: they share a server, which is one workspace's. NULL: none has come yet.
ALTER TABLE domains ADD COLUMN workspace_id UUID,
    ADD FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id);
UPDATE domains d SET workspace_id = (
    SELECT i.workspace_id FROM inboxes i WHERE i.tenant_id = d.tenant_id AND i.domain_id = d.id
    ORDER BY i.created_at, i.id LIMIT 1
);

CREATE FUNCTION domain_takes_workspace() RETURNS trigger LANGUAGE plpgsql SET app.workspaces = '' AS $$
BEGIN
    UPDATE domains SET workspace_id = NEW.workspace_id
    WHERE tenant_id = NEW.tenant_id AND id = NEW.domain_id AND workspace_id IS DISTINCT FROM NEW.workspace_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER domain_takes_workspace AFTER INSERT ON inboxes FOR EACH ROW EXECUTE FUNCTION domain_takes_workspace();
GRANT UPDATE (workspace_id) ON domains TO penguin_api;

-- A run has the workspace of what it is about, also when that is gone.
ALTER TABLE pipeline_runs ADD COLUMN workspace_id UUID,
    ADD FOREIGN KEY (tenant_id, workspace_id) REFERENCES workspaces (tenant_id, id);

CREATE FUNCTION workspace_of_subject(tenant UUID, subject UUID) RETURNS UUID LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        (SELECT workspace_id FROM vps_servers WHERE tenant_id = tenant AND id = subject),
        (SELECT workspace_id FROM inboxes WHERE tenant_id = tenant AND id = subject),
        (SELECT workspace_id FROM domains WHERE tenant_id = tenant AND id = subject),
        (SELECT i.workspace_id FROM inbox_senders s JOIN inboxes i ON i.tenant_id = s.tenant_id AND i.id = s.inbox_id
         WHERE s.tenant_id = tenant AND s.id = subject),
        (SELECT v.workspace_id FROM server_addresses a JOIN vps_servers v ON v.tenant_id = a.tenant_id AND v.id = a.vps_id
         WHERE a.tenant_id = tenant AND a.id = subject)
    )
$$;
UPDATE pipeline_runs SET workspace_id = workspace_of_subject(tenant_id, subject_id);

CREATE FUNCTION run_takes_workspace() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.workspace_id := workspace_of_subject(NEW.tenant_id, NEW.subject_id);
    RETURN NEW;
END
$$;
CREATE TRIGGER run_takes_workspace BEFORE INSERT ON pipeline_runs FOR EACH ROW EXECUTE FUNCTION run_takes_workspace();
REVOKE INSERT ON pipeline_runs FROM penguin_api;
GRANT INSERT (id, tenant_id, kind, subject_id) ON pipeline_runs TO penguin_api;

-- ---------------------------------------------------------------- messages

-- What a caller of one workspace walks along: a workspace that sends little would else be looked for in all that its
-- tenant has sent.
CREATE INDEX idx_messages_workspace ON messages (tenant_id, workspace_id, id);

-- ---------------------------------------------------------------- answers that are kept

-- Whose key it is: what app.workspaces was. The same key of another workspace's caller is another key.
ALTER TABLE kept_answers ADD COLUMN within TEXT NOT NULL DEFAULT '',
    DROP CONSTRAINT kept_answers_pkey, ADD PRIMARY KEY (tenant_id, within, key);
ALTER TABLE idempotency_keys ADD COLUMN within TEXT NOT NULL DEFAULT '',
    DROP CONSTRAINT idempotency_keys_pkey, ADD PRIMARY KEY (tenant_id, within, key);

-- ---------------------------------------------------------------- what holds for the whole tenant

-- Limits, what endpoints are told, and what servers are told of a domain's policy: by all rows, whoever writes one.
ALTER FUNCTION hold_plan_limit() SET app.workspaces = '';
ALTER FUNCTION tell_endpoints() SET app.workspaces = '';
ALTER FUNCTION tell_of_sends() SET app.workspaces = '';
ALTER FUNCTION tell_of_server() SET app.workspaces = '';
ALTER FUNCTION tell_of_inbox() SET app.workspaces = '';
ALTER FUNCTION tell_of_certificate() SET app.workspaces = '';
ALTER FUNCTION policy_changes() SET app.workspaces = '';
ALTER FUNCTION policy_servers_change() SET app.workspaces = '';
ALTER FUNCTION policy_name_leads() SET app.workspaces = '';
ALTER FUNCTION publisher_changes() SET app.workspaces = '';

-- Whoever writes a deed goes on from the last one, and is shown no more of it.
CREATE FUNCTION newest_deed(tenant UUID, OUT newest_position BIGINT, OUT newest_hash BYTEA)
LANGUAGE sql STABLE SET app.workspaces = '' AS $$
    SELECT position, hash FROM audit_events WHERE tenant_id = tenant ORDER BY position DESC LIMIT 1
$$;

-- ---------------------------------------------------------------- policies

DO $$
DECLARE
    named CONSTANT TEXT := '(SELECT nullif(current_setting(''app.workspaces'', true), ''''))';
    held RECORD;
    target TEXT;
    seen TEXT;
    referred TEXT;
BEGIN
    FOR held IN SELECT * FROM (VALUES
        -- Rows with a workspace of their own.
        (1, 'workspaces', 'id', NULL), (1, 'vps_servers', 'workspace_id', NULL), (1, 'inboxes', 'workspace_id', NULL),
        (1, 'messages', 'workspace_id', NULL), (1, 'ip_pools', 'workspace_id', NULL),
        (1, 'webhook_endpoints', 'workspace_id', NULL), (1, 'tenant_events', 'workspace_id', NULL),
        (1, 'domains', 'workspace_id', NULL), (1, 'pipeline_runs', 'workspace_id', NULL),
        -- Rows that hang on one that has: seen where that is seen.
        (2, 'vps_reports', 'vps_id', 'vps_servers'), (2, 'server_commands', 'vps_id', 'vps_servers'),
        (2, 'preflight_results', 'vps_id', 'vps_servers'), (2, 'server_addresses', 'vps_id', 'vps_servers'),
        (2, 'server_health', 'vps_id', 'vps_servers'), (2, 'health_checks', 'vps_id', 'vps_servers'),
        (2, 'health_reports', 'vps_id', 'vps_servers'), (2, 'health_samples', 'vps_id', 'vps_servers'),
        (2, 'health_hours', 'vps_id', 'vps_servers'), (2, 'alerts', 'vps_id', 'vps_servers'),
        (2, 'healing_acts', 'vps_id', 'vps_servers'), (2, 'dns_records', 'inbox_id', 'inboxes'),
        (2, 'inbox_aliases', 'inbox_id', 'inboxes'), (2, 'inbox_moves', 'inbox_id', 'inboxes'),
        (2, 'inbox_senders', 'inbox_id', 'inboxes'), (2, 'sender_bindings', 'inbox_id', 'inboxes'),
        (2, 'inbox_daily_sends', 'inbox_id', 'inboxes'), (2, 'message_events', 'message_id', 'messages'),
        (2, 'ip_pool_addresses', 'pool_id', 'ip_pools'), (2, 'address_reputation', 'address_id', 'server_addresses'),
        (2, 'dkim_keys', 'domain_id', 'domains'), (2, 'dns_publishers', 'domain_id', 'domains'),
        (2, 'pipeline_steps', 'run_id', 'pipeline_runs'), (2, 'webhook_deliveries', 'endpoint_id', 'webhook_endpoints'),
        (2, 'signing_secrets', 'api_key_id', 'api_keys'),
        -- Callers of these workspaces and no others.
        (3, 'api_keys', NULL, NULL), (3, 'memberships', NULL, NULL), (3, 'invitations', NULL, NULL),
        -- What the very same callers wrote.
        (4, 'kept_answers', NULL, NULL), (4, 'idempotency_keys', NULL, NULL),
        -- The tenant's alone: these hold recipients of all workspaces.
        (5, 'suppressions', NULL, NULL), (5, 'data_subject_erasures', NULL, NULL)
    ) AS tables (way, name, own, parent) LOOP
        seen := CASE held.way
            WHEN 1 THEN format('%I.%I = ANY (%s::uuid[])', held.name, held.own, named)
            WHEN 2 THEN format('EXISTS (SELECT FROM %1$I other WHERE other.tenant_id = %2$I.tenant_id'
                               ' AND other.id = %2$I.%3$I)', held.parent, held.name, held.own)
            WHEN 3 THEN format('%I.workspaces <@ %s::uuid[]', held.name, named)
            WHEN 4 THEN format('%I.within = %s', held.name, named)
            ELSE 'false' END;
        -- And what is written refers to nothing that is not seen.
        SELECT coalesce(string_agg(format(' AND (%1$I.%2$I IS NULL OR EXISTS (SELECT FROM %3$I other WHERE'
            ' other.tenant_id = %1$I.tenant_id AND other.id = %1$I.%2$I))', held.name, a.attname, p.relname), ''
            ORDER BY a.attname), '') INTO referred
        FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
        JOIN pg_attribute t ON t.attrelid = k.conrelid AND t.attnum = k.conkey[1] AND t.attname = 'tenant_id'
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[2]
        WHERE k.contype = 'f' AND k.conrelid = held.name::regclass AND cardinality(k.conkey) = 2
            AND k.conparentid = 0 AND p.relname <> held.name AND a.attname IS DISTINCT FROM held.own
            AND p.relname IN ('vps_servers', 'inboxes', 'messages', 'ip_pools', 'domains', 'server_addresses',
                              'webhook_endpoints', 'tenant_events');
        -- A partition has its table's policies, for whoever should come to be let at it.
        FOR target IN SELECT held.name UNION ALL
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = held.name::regclass
        LOOP
            EXECUTE format('CREATE POLICY own_workspaces ON %I AS RESTRICTIVE TO penguin_api'
                ' USING (CASE WHEN %2$s IS NULL THEN true WHEN %3$s THEN true END IS NOT NULL)'
                ' WITH CHECK (CASE WHEN %2$s IS NULL THEN true ELSE %3$s%4$s END)', target, named,
                replace(seen, quote_ident(held.name) || '.', quote_ident(target) || '.'),
                replace(referred, quote_ident(held.name) || '.', quote_ident(target) || '.'));
        END LOOP;
    END LOOP;

    -- A tenant is seen by all of its callers, and changed by those who are there for all of it.
    EXECUTE format('CREATE POLICY own_workspaces ON tenants AS RESTRICTIVE FOR UPDATE TO penguin_api'
        ' USING (%s IS NULL)', named);
    -- Everybody's deeds are written down; they are read by those who may read all of them.
    EXECUTE format('CREATE POLICY own_workspaces ON audit_events AS RESTRICTIVE FOR SELECT TO penguin_api'
        ' USING (%s IS NULL)', named);
    -- A pause of the whole tenant holds everybody's sends back, so it is seen; it is not everybody's to make or to end.
    seen := 'CASE WHEN %1$s IS NULL THEN true ELSE (pauses.inbox_id IS NULL OR EXISTS (SELECT FROM inboxes other'
        ' WHERE other.tenant_id = pauses.tenant_id AND other.id = pauses.inbox_id))'
        ' AND (pauses.vps_id IS NULL OR EXISTS (SELECT FROM vps_servers other'
        ' WHERE other.tenant_id = pauses.tenant_id AND other.id = pauses.vps_id)) AND %2$s END';
    EXECUTE format('CREATE POLICY own_workspaces ON pauses AS RESTRICTIVE FOR SELECT TO penguin_api'
        ' USING (' || seen || ')', named, 'true');
    EXECUTE format('CREATE POLICY own_workspaces_make ON pauses AS RESTRICTIVE FOR INSERT TO penguin_api'
        ' WITH CHECK (' || seen || ')', named, 'num_nonnulls(pauses.inbox_id, pauses.vps_id) > 0');
    EXECUTE format('CREATE POLICY own_workspaces_end ON pauses AS RESTRICTIVE FOR UPDATE TO penguin_api'
        ' USING (' || seen || ')', named, 'num_nonnulls(pauses.inbox_id, pauses.vps_id) > 0');
END
$$;
