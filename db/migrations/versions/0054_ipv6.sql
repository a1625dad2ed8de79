-- A server's IPv6 address, where it has one, and since when mail goes out by it: once it is named both ways and nothing
-- is held against it (control_plane/preflight/ipv6.py). NULL while it does not.

ALTER TABLE vps_servers
    ADD COLUMN ipv6_address INET CHECK (family(ipv6_address) = 6 AND masklen(ipv6_address) = 128),
    ADD COLUMN ipv6_sending_since TIMESTAMPTZ,
    ADD CHECK (ipv6_address IS NOT NULL OR ipv6_sending_since IS NULL);
GRANT SELECT (ipv6_address, ipv6_sending_since) ON vps_servers TO penguin_api;

ALTER TABLE preflight_results
    DROP CONSTRAINT preflight_results_kind_check,
    ADD CONSTRAINT preflight_results_kind_check
        CHECK (kind IN ('port_25', 'reverse_dns', 'reverse_dns_v6', 'blocklist', 'blocklist_v6', 'clock'));

ALTER TABLE dns_records
    DROP CONSTRAINT dns_records_record_type_check,
    ADD CONSTRAINT dns_records_record_type_check
        CHECK (record_type IN ('A', 'AAAA', 'MX', 'TXT', 'CNAME', 'PTR', 'SRV'));
