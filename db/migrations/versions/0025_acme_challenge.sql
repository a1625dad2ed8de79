-- The record that a certificate authority looks for in a server's name (provisioning/acme_challenges.py): its value,
-- until when it is there at most, and when the server was last told that it is. Written before the record is published
-- and taken away after it is withdrawn, so that what a crash leaves there is known.

ALTER TABLE vps_servers ADD COLUMN acme_challenge VARCHAR(43);
ALTER TABLE vps_servers ADD COLUMN acme_challenge_until TIMESTAMPTZ;
ALTER TABLE vps_servers ADD COLUMN acme_challenge_told_at TIMESTAMPTZ;
CREATE INDEX idx_vps_servers_acme_challenge ON vps_servers (acme_challenge_until) WHERE acme_challenge IS NOT NULL;
