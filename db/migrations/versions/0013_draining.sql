-- Servers that are emptied: nothing new comes to them, and a removal waits until nothing is left in them.

-- Since when the server gets no inboxes and no sends; unset when it does.
ALTER TABLE vps_servers ADD COLUMN draining_since TIMESTAMPTZ;
-- It is removed once it is empty, or at once when that was asked for by force.
ALTER TABLE vps_servers ADD COLUMN removal_requested_at TIMESTAMPTZ;
ALTER TABLE vps_servers ADD COLUMN removal_forced BOOLEAN NOT NULL DEFAULT false;

GRANT SELECT (draining_since, removal_requested_at, removal_forced),
    UPDATE (draining_since, removal_requested_at, removal_forced) ON vps_servers TO penguin_api;
