-- Settings for mail programs: whether a domain has them shown, by the server that shows its policy (0034).

ALTER TABLE domains ADD COLUMN client_settings BOOLEAN NOT NULL DEFAULT false;
GRANT UPDATE (client_settings) ON domains TO penguin_api;

DROP TRIGGER policy_changes ON domains;
CREATE TRIGGER policy_changes AFTER UPDATE OF mta_sts, client_settings ON domains FOR EACH ROW
    WHEN (OLD.mta_sts <> NEW.mta_sts OR OLD.client_settings <> NEW.client_settings) EXECUTE FUNCTION policy_changes();

-- They are shown while all mailboxes are on one server, so an inbox more or less may end or begin that as well.
CREATE OR REPLACE FUNCTION policy_servers_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    touched UUID := CASE TG_OP WHEN 'DELETE' THEN OLD.domain_id ELSE NEW.domain_id END;
    former UUID := CASE TG_OP WHEN 'INSERT' THEN NULL ELSE OLD.vps_id END;
BEGIN
    IF EXISTS (SELECT FROM domains WHERE id = touched AND (mta_sts <> 'none' OR client_settings)) THEN
        PERFORM tell_servers_of_policy(touched, former);
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER policy_name_leads ON dns_records;
CREATE TRIGGER policy_name_leads AFTER UPDATE OF verification_status ON dns_records FOR EACH ROW
    WHEN (NEW.record_type = 'A' AND NEW.record_name IN ('mta-sts', 'autoconfig', 'autodiscover')
          AND (OLD.verification_status = 'verified') <> (NEW.verification_status = 'verified'))
    EXECUTE FUNCTION policy_name_leads();

-- Where an authority looks for records, names are certified only in zones that are written for their owners.
CREATE FUNCTION publisher_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM raise_desired_versions(ARRAY[i.vps_id]) FROM inboxes i JOIN domains d ON d.id = i.domain_id
        WHERE d.id = coalesce(NEW.domain_id, OLD.domain_id) AND (d.mta_sts <> 'none' OR d.client_settings)
          AND i.id = policy_inbox(d.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER publisher_changes AFTER INSERT OR UPDATE OR DELETE ON dns_publishers FOR EACH ROW
    EXECUTE FUNCTION publisher_changes();
