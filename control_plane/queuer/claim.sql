-- Lease waiting sends to their servers, as many as each stream has room for, and return what their envelopes need.
-- What was suppressed since it was accepted ends here. What is over its inbox's daily limit stays waiting.
--
-- A send counts against its inbox's limit once for each UTC day on which it is leased. The counter's row is locked by
-- the upsert and compared with the limit once more there, so two queuers cannot overrun it: the one that comes second
-- leases nothing of that inbox, and comes again.
WITH RECURSIVE paused AS MATERIALIZED (
    SELECT p.tenant_id, p.vps_id, p.inbox_id, p.priority FROM pauses p WHERE p.resumed_at IS NULL
),
room AS MATERIALIZED (
    SELECT v.tenant_id, r.vps_id, r.priority, r.room
    FROM unnest(%(vps_ids)s::uuid[], %(priorities)s::smallint[], %(rooms)s::integer[]) AS r (vps_id, priority, room)
    JOIN vps_servers v ON v.id = r.vps_id AND v.status = 'ready' AND v.banned_at IS NULL
     AND coalesce(abs(v.clock_offset_ms) <= 1000 * %(clock_tolerance_seconds)s::bigint, true)
    JOIN tenants t ON t.id = v.tenant_id AND t.state = 'active'
     -- A round that begins below the plan's sends of a day may go beyond them by what it leases.
     AND NOT plan_sends_spent(t.id)
    -- A pause is of a server, of a priority, or, with neither, of the whole tenant.
    WHERE NOT EXISTS (SELECT FROM paused p
                      WHERE p.inbox_id IS NULL AND coalesce(p.tenant_id = v.tenant_id, true)
                        AND coalesce(p.vps_id = r.vps_id, p.priority = r.priority, true))
),
-- The first waiting send of each inbox, by jumping through idx_messages_waiting from inbox to inbox.
head AS (
    SELECT room.vps_id, room.priority, room.room, room.tenant_id, first.inbox_id, first.send_at, first.queued_at
    FROM room
    CROSS JOIN LATERAL (
        SELECT m.inbox_id, m.send_at, m.queued_at
        FROM messages m
        WHERE m.state = 'accepted' AND m.tenant_id = room.tenant_id AND m.vps_id = room.vps_id AND m.priority = room.priority
          AND m.inbox_id IS NOT NULL
        ORDER BY m.inbox_id, m.send_at, m.id
        LIMIT 1
    ) AS first
    UNION ALL
    SELECT head.vps_id, head.priority, head.room,
           head.tenant_id, following.inbox_id, following.send_at, following.queued_at
    FROM head
    CROSS JOIN LATERAL (
        SELECT m.inbox_id, m.send_at, m.queued_at
        FROM messages m
        WHERE m.state = 'accepted' AND m.tenant_id = head.tenant_id AND m.vps_id = head.vps_id AND m.priority = head.priority
          AND m.inbox_id > head.inbox_id
        ORDER BY m.inbox_id, m.send_at, m.id
        LIMIT 1
    ) AS following
),
-- Inboxes that have something due and may send today; a stream's room is shared evenly among them. Sends that come
-- back from a lease of today are counted already, and being older they are the first of their inbox.
sender AS (
    SELECT head.vps_id, head.priority, head.room, head.tenant_id, head.inbox_id,
           ceil(i.daily_send_limit::numeric / v.send_divisor)::integer - coalesce(d.claimed, 0) AS allowance,
           ceil(head.room::numeric / count(*) OVER (PARTITION BY head.vps_id, head.priority))::integer AS share
    FROM head
    JOIN inboxes i ON i.tenant_id = head.tenant_id AND i.id = head.inbox_id AND i.status = 'ready'
    JOIN vps_servers v ON v.id = head.vps_id
    LEFT JOIN inbox_daily_sends d
           ON d.tenant_id = head.tenant_id AND d.inbox_id = head.inbox_id AND d.day = (now() AT TIME ZONE 'UTC')::date
    WHERE head.send_at <= now()
      AND NOT EXISTS (SELECT FROM paused p WHERE p.tenant_id = head.tenant_id AND p.inbox_id = head.inbox_id)
      AND (ceil(i.daily_send_limit::numeric / v.send_divisor) > coalesce(d.claimed, 0) OR head.queued_at >= date_trunc('day', now(), 'UTC'))
),
due AS (
    SELECT waiting.tenant_id, waiting.id, waiting.counts, sender.allowance, sender.room,
           row_number() OVER (PARTITION BY sender.vps_id, sender.priority
                              ORDER BY waiting.place, waiting.send_at, waiting.id) AS turn,
           count(*) FILTER (WHERE waiting.counts) OVER (PARTITION BY sender.tenant_id, sender.inbox_id
                              ORDER BY sender.priority, waiting.send_at, waiting.id) AS counted,
           sum(waiting.bytes) OVER (ORDER BY sender.priority, waiting.place, waiting.send_at, waiting.id)
               - waiting.bytes AS bytes_before
    FROM sender
    CROSS JOIN LATERAL (
        SELECT m.tenant_id, m.id, m.send_at, octet_length(m.payload) AS bytes,
               row_number() OVER (ORDER BY m.send_at, m.id) AS place,
               m.queued_at IS NULL OR m.queued_at < date_trunc('day', now(), 'UTC') AS counts
        FROM messages m
        WHERE m.state = 'accepted' AND m.tenant_id = sender.tenant_id AND m.vps_id = sender.vps_id AND m.priority = sender.priority
          AND m.inbox_id = sender.inbox_id AND m.send_at <= now()
          -- Its server may not remember any more that it submitted it (delivery/states.py): for the sweep to end.
          AND coalesce(m.silent_since > now() - interval '6 days', true)
        ORDER BY m.send_at, m.id
        LIMIT sender.share
    ) AS waiting
),
chosen AS MATERIALIZED (
    SELECT due.tenant_id, due.id, due.counts, due.turn
    FROM due
    WHERE due.turn <= due.room
      AND (due.counted <= due.allowance OR NOT due.counts)
      AND due.bytes_before < %(most_bytes)s
),
-- Another queuer may have chosen the same: whoever locks a row has it, and nobody waits.
picked AS (
    SELECT m.tenant_id, m.id, m.inbox_id, chosen.counts, chosen.turn,
           -- An address that was erased stands there as a hash under its tenant's key.
           EXISTS (SELECT FROM suppressions s
                   WHERE s.tenant_id = m.tenant_id AND s.removed_at IS NULL
                     AND s.address = ANY (ARRAY[lower(m.recipient),
                             (SELECT erased_address(k.inner_block, k.outer_block, m.recipient)
                              FROM suppression_keys k WHERE k.tenant_id = m.tenant_id)])) AS suppressed
    FROM chosen
    JOIN messages m ON m.tenant_id = chosen.tenant_id AND m.id = chosen.id
    WHERE m.state = 'accepted'
    FOR NO KEY UPDATE OF m SKIP LOCKED
),
-- Of a lease that was taken back in silence the news may come late: only where there was none it is surely unsent.
suppressed AS (
    UPDATE messages m
    SET state = CASE WHEN m.silent_since IS NULL THEN 'suppressed' ELSE 'uncertain' END,
        state_reason = 'the recipient is on the suppression list'
                       || CASE WHEN m.silent_since IS NULL THEN '' ELSE ', and its server had been silent about it' END,
        final_at = now()
    FROM picked
    WHERE picked.suppressed AND m.tenant_id = picked.tenant_id AND m.id = picked.id
    RETURNING m.tenant_id, m.id, m.isolated, m.state
),
told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied)
    SELECT tenant_id, id, isolated, gen_random_uuid(), state, now(), true
    FROM suppressed
),
counted AS (
    INSERT INTO inbox_daily_sends AS d (tenant_id, inbox_id, day, claimed)
    SELECT tenant_id, inbox_id, (now() AT TIME ZONE 'UTC')::date, count(*)
    FROM picked
    WHERE counts AND NOT suppressed
    GROUP BY tenant_id, inbox_id
    -- One order for all queuers, so that they cannot wait for each other.
    ORDER BY tenant_id, inbox_id
    ON CONFLICT (tenant_id, inbox_id, day) DO UPDATE SET claimed = d.claimed + excluded.claimed
    WHERE d.claimed + excluded.claimed
          <= (SELECT ceil(i.daily_send_limit::numeric / v.send_divisor) FROM inboxes i JOIN vps_servers v ON v.id = i.vps_id
              WHERE i.tenant_id = d.tenant_id AND i.id = d.inbox_id)
    RETURNING d.tenant_id, d.inbox_id
)
UPDATE messages m
SET state = 'queued',
    state_reason = NULL,
    lease_token = gen_random_uuid(),
    lease_deadline = now() + make_interval(secs => %(lease_seconds)s),
    leases = m.leases + 1,
    queued_at = now()
FROM picked
WHERE m.tenant_id = picked.tenant_id AND m.id = picked.id AND NOT picked.suppressed
  AND (NOT picked.counts
       OR EXISTS (SELECT FROM counted
                  WHERE counted.tenant_id = picked.tenant_id AND counted.inbox_id = picked.inbox_id))
RETURNING m.id, m.vps_id, m.priority, m.lease_token, m.lease_deadline, m.envelope_sender, m.recipient,
          m.signing_domain, m.payload, m.leases AS lease_number, picked.turn
