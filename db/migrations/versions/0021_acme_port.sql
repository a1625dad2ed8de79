-- Port 80 of a server, which a firewall of its provider's opens for a certificate: until when at most. Written before
-- it is opened and taken away after it is shut, so that what a crash leaves open is known.

ALTER TABLE vps_servers ADD COLUMN acme_port_open_until TIMESTAMPTZ;
CREATE INDEX idx_vps_servers_acme_port ON vps_servers (acme_port_open_until) WHERE acme_port_open_until IS NOT NULL;

-- Their agents learn that they have to wait for it.
UPDATE vps_servers SET desired_version = desired_version + 1 WHERE provider = 'hetzner' AND status <> 'deleted';
