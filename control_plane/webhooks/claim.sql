-- Claim deliveries that are due, where so many places are free: of each endpoint so many that not too many are tried at
-- once, and of what is about one subject only the first. What waits behind another is put off until that one is due, so
-- it is not looked at each time.
--
-- A place goes to the tenant that has the fewest, and to none that has as many as are free: one whose endpoints never
-- answer has half of them at most, the next half of what is left, and so on. A place that is let go is first for those who
-- have none.
WITH tried AS (
    SELECT tenant_id, count(*) AS places
    FROM webhook_deliveries
    WHERE claim_token IS NOT NULL AND due_at > now()
    GROUP BY tenant_id
), waiting AS (
    SELECT tenant.places, due.ids
    FROM (
        SELECT told.tenant_id, coalesce(tried.places, 0) AS places, random() AS dice
        FROM (SELECT DISTINCT tenant_id FROM webhook_endpoints WHERE enabled) told
        LEFT JOIN tried USING (tenant_id)
        ORDER BY places, dice
    ) tenant CROSS JOIN LATERAL (
        SELECT array_agg(each.id ORDER BY each.turn, random()) AS ids
        FROM (
            SELECT w.id, (SELECT count(*) FROM webhook_deliveries t
                          WHERE t.endpoint_id = w.id AND t.claim_token IS NOT NULL AND t.due_at > now()) AS places
            FROM webhook_endpoints w
            WHERE w.tenant_id = tenant.tenant_id AND w.enabled
        ) endpoint CROSS JOIN LATERAL (
            SELECT d.id, endpoint.places + row_number() OVER (ORDER BY d.due_at, d.position) AS turn
            FROM webhook_deliveries d
            WHERE d.endpoint_id = endpoint.id AND d.state = 'waiting' AND d.due_at <= now()
            ORDER BY d.due_at, d.position
            LIMIT %(at_once)s
        ) each
        WHERE each.turn <= %(at_once)s
        HAVING count(*) > 0
    ) due
    ORDER BY tenant.places, tenant.dice
    LIMIT %(most)s
), in_turn AS (
    SELECT each.id, w.places + each.nth AS place, row_number() OVER (ORDER BY w.places + each.nth, random()) AS turn
    FROM waiting w CROSS JOIN LATERAL unnest(w.ids) WITH ORDINALITY AS each (id, nth)
), due AS (
    SELECT d.id, d.endpoint_id, d.subject_id, d.position
    FROM in_turn JOIN webhook_deliveries d ON d.id = in_turn.id
    -- Its tenant's place of that number, where those before it in turn have left so many free.
    WHERE in_turn.place <= %(most)s - (in_turn.turn - 1) AND d.state = 'waiting' AND d.due_at <= now()
    FOR UPDATE OF d SKIP LOCKED
), judged AS (
    SELECT due.id, (SELECT p.due_at FROM webhook_deliveries p
                    WHERE p.endpoint_id = due.endpoint_id AND p.subject_id = due.subject_id AND p.state = 'waiting'
                        AND p.position < due.position
                    ORDER BY p.position LIMIT 1) AS behind
    FROM due
), claimed AS (
    UPDATE webhook_deliveries d
    SET claim_token = CASE WHEN j.behind IS NULL THEN gen_random_uuid() END,
        attempts = d.attempts + CASE WHEN j.behind IS NULL THEN 1 ELSE 0 END,
        last_attempt_at = CASE WHEN j.behind IS NULL THEN now() ELSE d.last_attempt_at END,
        due_at = CASE WHEN j.behind IS NULL THEN now() + %(claim_life)s
                      ELSE greatest(j.behind, now() + interval '1 second') END
    FROM judged j
    WHERE d.id = j.id
    RETURNING d.*
)
SELECT c.id, c.tenant_id, c.endpoint_id, c.subject_id, c.event_id, c.claim_token, c.attempts,
    now() - c.waiting_since AS waited,
    coalesce(now() - w.failing_since, interval '0') AS failing,
    w.url, w.secret_sealed,
    CASE WHEN w.previous_secret_until > now() THEN w.previous_secret_sealed END AS previous_secret_sealed,
    e.type, e.at, e.data
FROM claimed c
JOIN webhook_endpoints w ON w.id = c.endpoint_id
JOIN tenant_events e ON e.tenant_id = c.tenant_id AND e.id = c.event_id
