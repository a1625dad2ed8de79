-- Rare things that a tenant is told of quietly, whether it has an endpoint or not (GET /api/v1/notices).

CREATE OR REPLACE FUNCTION tell_tenant(tenant UUID, kind TEXT, subject UUID, workspace UUID, told JSONB) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tenant_events (tenant_id, type, subject_id, workspace_id, at, data)
    SELECT tenant, kind, subject, workspace, now(), told
    WHERE kind IN ('server.ready', 'domain.verified', 'certificate.failing', 'limit.near')
        OR EXISTS (SELECT FROM webhook_endpoints w WHERE w.tenant_id = tenant AND w.deleted_at IS NULL)
$$;

-- As before (0028), and told when what is added crosses four fifths of what the plan allows.
CREATE OR REPLACE FUNCTION hold_plan_limit() RETURNS trigger LANGUAGE plpgsql AS $$
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
    IF (present + 1) * 5 >= most * 4 AND present * 5 < most * 4 THEN
        PERFORM tell_tenant(NEW.tenant_id, 'limit.near', NEW.tenant_id, NULL,
                            jsonb_build_object('what', TG_ARGV[0], 'used', present + 1, 'limit', most));
    END IF;
    RETURN NEW;
END
$$;
