-- What makes the failures of servers known in seconds (control_plane/monitoring/watch.py).

-- Hubs that listen, or did (control_plane/fleet/hearing.py).
CREATE TABLE hubs (
    id UUID PRIMARY KEY,
    -- Since when it hears without a break, and when it last said that it is there; by this database's clock.
    hearing_since TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON hubs TO penguin_system;

-- Daemons that a server needs and that do not run, as it said last; and when two held a link with its certificate.
ALTER TABLE vps_servers ADD stopped_units TEXT[] NOT NULL DEFAULT '{}', ADD cloned_at TIMESTAMPTZ;
-- Ports that did not answer when they were last looked at, without a reason that the server told.
ALTER TABLE server_health ADD shut_ports INTEGER[] NOT NULL DEFAULT '{}';

CREATE FUNCTION notify_server_watch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('server_watch', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER notify_server_watch AFTER UPDATE OF stopped_units, cloned_at ON vps_servers FOR EACH ROW
    WHEN ((OLD.stopped_units, OLD.cloned_at) IS DISTINCT FROM (NEW.stopped_units, NEW.cloned_at))
    EXECUTE FUNCTION notify_server_watch();

-- Whoever bans a server has every hub look whether it holds its link, by the channel that they hear already.
CREATE FUNCTION notify_ban() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('desired_state', NEW.id::text);
    RETURN NULL;
END
$$;
CREATE TRIGGER notify_ban AFTER UPDATE OF banned_at, cloned_at ON vps_servers FOR EACH ROW
    WHEN ((OLD.banned_at, OLD.cloned_at) IS DISTINCT FROM (NEW.banned_at, NEW.cloned_at))
    EXECUTE FUNCTION notify_ban();
