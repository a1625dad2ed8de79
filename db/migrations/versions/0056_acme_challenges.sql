-- Records that a certificate authority looks for, in place of one: a list of which, where and until when
-- (provisioning/challenge_notes.py), for a certificate is for domains' names, too. Written before they are published and
-- taken away after they are withdrawn, so that what a crash leaves there is known.

ALTER TABLE vps_servers ADD COLUMN acme_challenges JSONB;
ALTER TABLE vps_servers RENAME COLUMN acme_challenge_told_at TO acme_challenges_told_at;
UPDATE vps_servers SET acme_challenges = jsonb_build_array(jsonb_build_object(
        'zone', substr(hostname, strpos(hostname, '.') + 1), 'name', split_part(hostname, '.', 1), 'domain_id', NULL,
        'value', acme_challenge, 'until', to_char(acme_challenge_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS+00:00')))
    WHERE acme_challenge IS NOT NULL;
ALTER TABLE vps_servers DROP COLUMN acme_challenge, DROP COLUMN acme_challenge_until;
CREATE INDEX idx_vps_servers_acme_challenges ON vps_servers (id) WHERE acme_challenges IS NOT NULL;
