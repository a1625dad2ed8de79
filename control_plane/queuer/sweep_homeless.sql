-- End what nobody will lease again: waiting and dead sends of inboxes and servers that were removed. What no server was
-- silent about is surely unsent, and cancelled. Of the rest a server had an envelope, and cannot be asked any more.
WITH RECURSIVE head AS (
    (SELECT m.vps_id, m.priority, m.inbox_id, m.tenant_id
     FROM messages m
     WHERE m.state = 'accepted' AND m.inbox_id IS NOT NULL
     ORDER BY m.vps_id, m.priority, m.inbox_id
     LIMIT 1)
    UNION ALL
    SELECT following.*
    FROM head
    CROSS JOIN LATERAL (
        SELECT m.vps_id, m.priority, m.inbox_id, m.tenant_id
        FROM messages m
        WHERE m.state = 'accepted' AND m.inbox_id IS NOT NULL
          AND (m.vps_id, m.priority, m.inbox_id) > (head.vps_id, head.priority, head.inbox_id)
        ORDER BY m.vps_id, m.priority, m.inbox_id
        LIMIT 1
    ) AS following
),
homeless AS MATERIALIZED (
    SELECT head.vps_id, head.priority, head.inbox_id,
           CASE WHEN v.status = 'deleted' THEN 'its server was removed' ELSE 'its inbox was removed' END AS why
    FROM head
    JOIN vps_servers v ON v.id = head.vps_id
    JOIN inboxes i ON i.tenant_id = head.tenant_id AND i.id = head.inbox_id
    WHERE v.status = 'deleted' OR i.status = 'deleting'
),
gone AS (
    SELECT m.tenant_id, m.id, m.silent_since, homeless.why
    FROM homeless
    CROSS JOIN LATERAL (
        SELECT w.tenant_id, w.id, w.silent_since
        FROM messages w
        WHERE w.state = 'accepted' AND w.vps_id = homeless.vps_id AND w.priority = homeless.priority
          AND w.inbox_id = homeless.inbox_id
        LIMIT %(page)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
),
gone_with_row AS (
    SELECT m.tenant_id, m.id, m.silent_since, 'its inbox was removed' AS why
    FROM vps_servers v
    CROSS JOIN generate_series(0, 2) AS of (priority)
    CROSS JOIN LATERAL (
        SELECT w.tenant_id, w.id, w.silent_since
        FROM messages w
        WHERE w.state = 'accepted' AND w.vps_id = v.id AND w.priority = of.priority AND w.inbox_id IS NULL
        LIMIT %(page)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS m
),
gone_dead AS (
    SELECT m.tenant_id, m.id, m.silent_since,
           CASE WHEN v.status = 'deleted' THEN 'its server was removed' ELSE 'its inbox was removed' END AS why
    FROM messages m
    JOIN vps_servers v ON v.id = m.vps_id
    WHERE m.state = 'dead'
      AND (v.status = 'deleted'
           OR NOT EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = m.tenant_id AND i.id = m.inbox_id
                          AND i.status <> 'deleting'))
    LIMIT %(page)s
    FOR NO KEY UPDATE OF m SKIP LOCKED
),
ended AS (
    UPDATE messages m
    SET state = CASE WHEN g.silent_since IS NULL THEN 'cancelled' ELSE 'uncertain' END, state_reason = g.why, final_at = now()
    FROM (SELECT * FROM gone UNION ALL SELECT * FROM gone_with_row UNION ALL SELECT * FROM gone_dead) AS g
    WHERE m.tenant_id = g.tenant_id AND m.id = g.id
    RETURNING m.tenant_id, m.id, m.isolated, m.state, m.state_reason
)
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
SELECT tenant_id, id, isolated, gen_random_uuid(), state, now(), true, jsonb_build_object('detail', state_reason)
FROM ended
RETURNING message_id
