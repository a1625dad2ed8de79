-- Claim deliveries that are due: of each endpoint so many that not too many are tried at once, and of what is about one
-- subject only the first. What waits behind another is put off until that one is due, so it is not looked at each time.
WITH room AS (
    SELECT w.id, %(at_once)s - (SELECT count(*) FROM webhook_deliveries t
                                WHERE t.endpoint_id = w.id AND t.claim_token IS NOT NULL AND t.due_at > now()) AS free
    FROM webhook_endpoints w
    WHERE w.enabled
    ORDER BY random()
), due AS (
    SELECT d.id, d.endpoint_id, d.subject_id, d.position
    FROM room CROSS JOIN LATERAL (
        SELECT each.id, each.endpoint_id, each.subject_id, each.position
        FROM webhook_deliveries each
        WHERE each.endpoint_id = room.id AND each.state = 'waiting' AND each.due_at <= now()
        ORDER BY each.due_at, each.position
        LIMIT greatest(room.free, 0)
        FOR UPDATE SKIP LOCKED
    ) d
    LIMIT %(most)s
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
