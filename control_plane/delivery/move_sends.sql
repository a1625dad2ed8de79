-- Write where the sends of one batch of events stand now; their rows are locked.
UPDATE messages m
SET state = s.state,
    state_reason = s.reason,
    queue_id = s.queue_id,
    -- Its server has a word for it after all.
    silent_leases = 0,
    silent_since = NULL,
    relayed_at = s.relayed_at,
    final_at = s.final_at
FROM unnest(%(ids)s::uuid[], %(states)s::text[], %(reasons)s::text[], %(queue_ids)s::text[],
            %(relayed_ats)s::timestamptz[], %(final_ats)s::timestamptz[])
     AS s (id, state, reason, queue_id, relayed_at, final_at)
WHERE m.tenant_id = %(tenant_id)s AND m.id = s.id
