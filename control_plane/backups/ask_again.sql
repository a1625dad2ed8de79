-- After a restore that may have forgotten something: what was not over at that moment is to be leased anew, to the same
-- server, under a number beyond any that the forgotten time can have given. A server that knows the send answers such a
-- lease with what became of it, and submits nothing (agent/journal/states.py); it remembers an end for seven days. So the
-- restored moment counts as the beginning of its silence, which ends a send as uncertain after six
-- (control_plane/delivery/states.py). What was not due yet, nobody can have leased.
WITH open AS (
    SELECT m.tenant_id, m.id, m.state
    FROM messages m
    WHERE m.state IN ('accepted', 'queued', 'relayed', 'dead', 'failed')
      AND (m.send_at <= now() OR m.state <> 'accepted')
    FOR NO KEY UPDATE
),
asked AS (
    UPDATE messages m
    SET state = CASE WHEN open.state IN ('queued', 'relayed') THEN 'accepted' ELSE open.state END,
        leases = m.leases + %(beyond)s,
        silent_leases = 0,
        silent_since = least(m.silent_since, %(moment)s)
    FROM open
    WHERE m.tenant_id = open.tenant_id AND m.id = open.id
    RETURNING m.tenant_id, m.id, m.isolated, open.state AS before
),
told AS (
    INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, applied, detail)
    SELECT tenant_id, id, isolated, gen_random_uuid(), 'requeued', now(), true,
           jsonb_build_object('detail', 'the database was restored; its server is asked again')
    FROM asked
    WHERE before IN ('queued', 'relayed')
)
SELECT count(*) FROM asked
