-- What an agent's process was like when its server was told to change: resident memory, and restarts by systemd.
ALTER TABLE upgrade_servers
    ADD COLUMN past_rss_bytes DOUBLE PRECISION NOT NULL DEFAULT 0,
    ADD COLUMN past_restarts DOUBLE PRECISION NOT NULL DEFAULT 0;

-- Whether one of its disks is, as it said last (control_plane/fleet/disks.py): then it is looked at every second.
ALTER TABLE vps_servers ADD COLUMN disk_nearly_full BOOLEAN NOT NULL DEFAULT false;
