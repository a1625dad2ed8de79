-- What agents' own Postfix took and refused of sends before their servers were told to change (control_plane/upgrades).
ALTER TABLE upgrade_servers
    ADD COLUMN past_handed_over DOUBLE PRECISION NOT NULL DEFAULT 0,
    ADD COLUMN past_hand_over_refused DOUBLE PRECISION NOT NULL DEFAULT 0;
