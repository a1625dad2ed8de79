-- Records that a domain has because its tenant asked for them (control_plane/dns/extras.py).

-- Where other mail servers report how TLS went (RFC 8460).
ALTER TABLE domains ADD COLUMN tls_reports_to VARCHAR(254);
-- SRV records by which mail programs find their servers (RFC 6186).
ALTER TABLE domains ADD COLUMN client_records BOOLEAN NOT NULL DEFAULT false;
GRANT UPDATE (tls_reports_to, client_records) ON domains TO penguin_api;

ALTER TABLE dns_records DROP CONSTRAINT dns_records_record_type_check;
ALTER TABLE dns_records ADD CONSTRAINT dns_records_record_type_check
    CHECK (record_type IN ('A', 'MX', 'TXT', 'CNAME', 'PTR', 'SRV'));
