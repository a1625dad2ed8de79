-- MTA-STS (RFC 8461): which policy a domain shows, which of its servers shows it, and what was seen of it.

ALTER TABLE domains ADD COLUMN mta_sts VARCHAR(10) NOT NULL DEFAULT 'none'
    CHECK (mta_sts IN ('none', 'testing', 'enforce'));
-- The id of the policy that was last seen as other mail servers see it.
ALTER TABLE domains ADD COLUMN mta_sts_seen VARCHAR(32);
-- When it was looked at last, and what was wrong then.
ALTER TABLE domains ADD COLUMN mta_sts_looked_at TIMESTAMPTZ;
ALTER TABLE domains ADD COLUMN mta_sts_detail TEXT;
GRANT UPDATE (mta_sts, mta_sts_seen, mta_sts_looked_at, mta_sts_detail) ON domains TO penguin_api;

-- The domain's first inbox that has a server: that server shows the policy.
CREATE FUNCTION policy_inbox(domain UUID) RETURNS UUID LANGUAGE sql STABLE AS $$
    SELECT id FROM inboxes WHERE domain_id = domain AND vps_id IS NOT NULL AND status <> 'deleting'
    ORDER BY created_at, id LIMIT 1
$$;

-- The servers that the policy names: all that take the domain's mail.
CREATE FUNCTION policy_hosts(domain UUID) RETURNS TEXT[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(DISTINCT v.hostname::text ORDER BY v.hostname::text), '{}')
    FROM inboxes i JOIN vps_servers v ON v.tenant_id = i.tenant_id AND v.id = i.vps_id
    WHERE i.domain_id = domain AND i.status <> 'deleting'
$$;

-- Have the hubs tell servers anew what they should be; in one order, so that two never wait for each other.
CREATE FUNCTION raise_desired_versions(servers UUID[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    raised UUID;
BEGIN
    FOR raised IN
        UPDATE vps_servers SET desired_version = desired_version + 1
        WHERE id IN (SELECT id FROM vps_servers WHERE id = ANY(servers) ORDER BY id FOR UPDATE) RETURNING id
    LOOP
        PERFORM pg_notify('desired_state', raised::text);
    END LOOP;
END
$$;

-- And one that had an inbox of the domain until now.
CREATE FUNCTION tell_servers_of_policy(changed UUID, former UUID) RETURNS void LANGUAGE sql AS $$
    SELECT raise_desired_versions(array_append(array_agg(vps_id), former)) FROM inboxes
    WHERE domain_id = changed AND vps_id IS NOT NULL AND status <> 'deleting'
$$;

CREATE FUNCTION policy_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tell_servers_of_policy(NEW.id, NULL);
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_changes AFTER UPDATE OF mta_sts ON domains FOR EACH ROW
    WHEN (OLD.mta_sts <> NEW.mta_sts) EXECUTE FUNCTION policy_changes();

-- An inbox more or less may be another server in the policy, or another that shows it.
CREATE FUNCTION policy_servers_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched UUID := CASE TG_OP WHEN 'DELETE' THEN OLD.domain_id ELSE NEW.domain_id END;
    former UUID := CASE TG_OP WHEN 'INSERT' THEN NULL ELSE OLD.vps_id END;
BEGIN
    IF EXISTS (SELECT FROM domains WHERE id = touched AND mta_sts <> 'none') THEN
        PERFORM tell_servers_of_policy(touched, former);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_servers_change AFTER INSERT OR DELETE ON inboxes FOR EACH ROW
    EXECUTE FUNCTION policy_servers_change();
CREATE TRIGGER policy_servers_move AFTER UPDATE OF vps_id, status ON inboxes FOR EACH ROW
    WHEN (OLD.vps_id IS DISTINCT FROM NEW.vps_id OR (OLD.status = 'deleting') <> (NEW.status = 'deleting'))
    EXECUTE FUNCTION policy_servers_change();

-- A certificate is asked for with the policy's name only while that leads to the server.
CREATE FUNCTION policy_name_leads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM raise_desired_versions(ARRAY[i.vps_id]) FROM inboxes i
        WHERE i.id = NEW.inbox_id AND i.id = policy_inbox(i.domain_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_name_leads AFTER UPDATE OF verification_status ON dns_records FOR EACH ROW
    WHEN (NEW.record_type = 'A' AND NEW.record_name = 'mta-sts'
          AND (OLD.verification_status = 'verified') <> (NEW.verification_status = 'verified'))
    EXECUTE FUNCTION policy_name_leads();
