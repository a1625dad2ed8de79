-- Take back the leases that ran out more than the clock tolerance ago; the token stays, to judge what is told late.
-- A server whose clock is behind ours may use a lease for as much longer, but not for longer than the days after which
-- nothing is leased again that it was silent about; nor does it once it is removed. A send whose inbox or server was removed
-- meanwhile ends here: nobody leases it again, and its server did not say what it did.
--
-- A lease is counted as silent when its envelope had left the stream (`gone_before`: the deadline of what stands first in
-- it) and the server was linked meanwhile, and yet no word of it came. The send that collects too many of them is a dead
-- letter: something about it is wrong, and it would circle for ever.
WITH late AS (
    SELECT m.tenant_id, m.id,
           CASE WHEN v.status = 'deleted' THEN 'its server was removed'
                WHEN NOT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = m.tenant_id AND i.id = m.inbox_id
                                 AND i.status <> 'deleting') THEN 'its inbox was removed while its server was silent'
           END AS homeless,
           m.silent_leases + coalesce(
               v.last_seen_at > m.queued_at
               AND EXISTS (SELECT
                           FROM unnest(%(vps_ids)s::uuid[], %(priorities)s::smallint[], %(gone_before)s::timestamptz[])
                                AS s (vps_id, priority, gone_before)
                           WHERE s.vps_id = v.id AND s.priority = m.priority AND m.lease_deadline < s.gone_before),
               false)::integer AS silent_leases
    FROM vps_servers v
    CROSS JOIN LATERAL (
        SELECT q.tenant_id, q.id, q.inbox_id, q.priority, q.queued_at, q.lease_deadline, q.silent_leases
        FROM messages q
        WHERE q.state = 'queued' AND q.vps_id = v.id
          AND q.lease_deadline < now() - make_interval(
              secs => %(tolerance_seconds)s + CASE WHEN v.status = 'deleted' THEN 0
                      ELSE least(greatest(0, coalesce(-v.clock_offset_ms, 0)) / 1000.0, 6 * 86400) END)
        ORDER BY q.lease_deadline
        LIMIT %(page)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
),
judged AS (
    SELECT tenant_id, id, homeless, silent_leases,
           CASE WHEN homeless IS NOT NULL THEN 'uncertain'
                WHEN silent_leases >= %(most_silent)s THEN 'dead'
                ELSE 'accepted' END AS state
    FROM late
),
freed AS (
    UPDATE messages m
    SET state = judged.state,
        state_reason = CASE judged.state
            WHEN 'uncertain' THEN judged.homeless
            WHEN 'dead' THEN format('its server took it %%s times and never told of it', judged.silent_leases) END,
        silent_leases = judged.silent_leases,
        silent_since = coalesce(m.silent_since, m.queued_at),
        final_at = CASE WHEN judged.state = 'uncertain' THEN now() END
    FROM judged
    WHERE m.tenant_id = judged.tenant_id AND m.id = judged.id
    RETURNING m.tenant_id, m.id, m.isolated, m.lease_token, m.state, m.state_reason
)
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, lease_token, applied, detail)
SELECT tenant_id, id, isolated, gen_random_uuid(), CASE state WHEN 'accepted' THEN 'requeued' ELSE state END, now(), lease_token,
       true,
       jsonb_build_object('detail', coalesce(state_reason, 'the lease ran out without word from the server'))
FROM freed
RETURNING message_id, kind
