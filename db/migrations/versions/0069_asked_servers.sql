-- When a plan first asked a server to change (control_plane/upgrades); null where it did not, as for one that had it.
ALTER TABLE upgrade_servers ADD COLUMN asked_at TIMESTAMPTZ;
UPDATE upgrade_servers SET asked_at = since WHERE state = 'asked';
