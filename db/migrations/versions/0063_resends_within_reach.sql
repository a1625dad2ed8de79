-- A policy of messages cannot look at messages. So whoever is there for single workspaces is held by a trigger to sending
-- again what they see; for everybody else, and so for sends that move between partitions, it does nothing.
CREATE FUNCTION hold_resend_within_reach() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM messages WHERE tenant_id = NEW.tenant_id AND id = NEW.resend_of) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'there is no such send to send again';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER hold_resend_within_reach BEFORE INSERT ON messages FOR EACH ROW
    WHEN (NEW.resend_of IS NOT NULL AND nullif(current_setting('app.workspaces', true), '') IS NOT NULL)
    EXECUTE FUNCTION hold_resend_within_reach();
