-- By which addresses a domain's inboxes may send beside their servers' own: those of their pools, those that they are
-- bound to still, and those of the other server of an inbox that moves. A function, since with the policies of seven
-- tables the question takes ten times as long to plan as to answer: here it is planned once for each connection.
CREATE FUNCTION sending_addresses(of_domain UUID) RETURNS SETOF TEXT LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY
        SELECT host(p.address) FROM inbox_pool_addresses p
        WHERE p.domain_id = of_domain AND p.state IN ('ready', 'draining')
        UNION
        SELECT host(a.address) FROM inboxes i
        JOIN sender_bindings b ON b.tenant_id = i.tenant_id AND b.inbox_id = i.id AND b.until IS NULL
        JOIN server_addresses a ON a.tenant_id = b.tenant_id AND a.id = b.address_id
        WHERE i.domain_id = of_domain AND i.status <> 'deleting'
        UNION
        SELECT host(a.address) FROM inboxes i
        JOIN inbox_moves m ON m.inbox_id = i.id AND m.finished_at IS NULL
        JOIN vps_servers v ON v.id IN (m.source_id, m.target_id), unnest(ARRAY[v.ip_address, v.ipv6_address]) a (address)
        WHERE i.domain_id = of_domain AND i.status <> 'deleting' AND a.address IS NOT NULL;
END
$$;

CREATE INDEX idx_inboxes_domain ON inboxes (domain_id);
