-- What a tenant's plan allows. The limits of things are held by the tables themselves, in the transaction that adds one,
-- whoever adds it; the sends of a day are held where they are leased (control_plane/queuer/claim.sql).

CREATE TABLE plans (
    name VARCHAR(50) PRIMARY KEY,
    -- NULL: as many as they like.
    servers INTEGER CHECK (servers >= 0),
    domains INTEGER CHECK (domains >= 0),
    inboxes INTEGER CHECK (inboxes >= 0),
    api_keys INTEGER CHECK (api_keys >= 0),
    webhooks INTEGER CHECK (webhooks >= 0),
    sends_a_day INTEGER CHECK (sends_a_day >= 0)
);
INSERT INTO plans (name, servers, domains, inboxes, api_keys, webhooks, sends_a_day) VALUES
    ('unlimited', NULL, NULL, NULL, NULL, NULL, NULL),
    ('starter', 2, 10, 50, 20, 5, 10000),
    ('growth', 20, 200, 1000, 100, 20, 250000);
GRANT SELECT ON plans TO penguin_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON plans TO penguin_system;

ALTER TABLE tenants
    ADD COLUMN plan VARCHAR(50) NOT NULL DEFAULT 'unlimited' REFERENCES plans (name),
    -- What this tenant has instead of its plan's, by the plan's columns; null there: as many as it likes.
    ADD COLUMN plan_overrides JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(plan_overrides) = 'object');

-- NULL when there is no limit.
CREATE FUNCTION plan_limit(tenant UUID, what TEXT) RETURNS INTEGER LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN t.plan_overrides ? what THEN (t.plan_overrides ->> what)::integer
                ELSE (to_jsonb(p) ->> what)::integer END
    FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.id = tenant
$$;

-- The trigger's arguments: what the plan calls it, and which rows count.
CREATE FUNCTION hold_plan_limit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    most INTEGER := plan_limit(NEW.tenant_id, TG_ARGV[0]);
    present BIGINT;
BEGIN
    IF most IS NULL THEN
        RETURN NEW;
    END IF;
    -- Of two that add one at the same time, the second counts the first one's.
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.tenant_id::text || TG_ARGV[0], 3));
    EXECUTE format('SELECT count(*) FROM %I WHERE tenant_id = $1 AND %s', TG_TABLE_NAME, TG_ARGV[1])
        INTO present USING NEW.tenant_id;
    IF present >= most THEN
        RAISE EXCEPTION USING ERRCODE = 'PM001', MESSAGE = format(
            'The plan allows %s %s, and there are %s. Remove one, or ask the operator for a larger plan.',
            most, replace(TG_ARGV[0], '_', ' '), present);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON vps_servers FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('servers', $$status <> 'deleted'$$);
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON domains FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('domains', 'true');
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON inboxes FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('inboxes', 'true');
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON api_keys FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('api_keys', 'revoked_at IS NULL');
CREATE TRIGGER hold_plan_limit BEFORE INSERT ON webhook_endpoints FOR EACH ROW
    EXECUTE FUNCTION hold_plan_limit('webhooks', 'deleted_at IS NULL');

CREATE INDEX idx_inbox_daily_sends_day ON inbox_daily_sends (tenant_id, day);

-- Whether the tenant's sends of the day (UTC) are used up.
CREATE FUNCTION plan_sends_spent(tenant UUID) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN most IS NULL THEN false
                ELSE (SELECT coalesce(sum(d.claimed), 0) FROM inbox_daily_sends d
                      WHERE d.tenant_id = tenant AND d.day = (now() AT TIME ZONE 'UTC')::date) >= most END
    FROM (SELECT plan_limit(tenant, 'sends_a_day') AS most) AS plan
$$;
