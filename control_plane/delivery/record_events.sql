-- Add events to the timelines of their sends; one that is there already stays as it is.
INSERT INTO message_events (tenant_id, message_id, isolated, event_id, kind, at, lease_token, applied, detail)
SELECT %(tenant_id)s, e.message_id, e.isolated, e.event_id, e.kind, e.at, e.lease_token, e.applied, e.detail::jsonb
FROM unnest(%(message_ids)s::uuid[], %(isolated)s::boolean[], %(event_ids)s::uuid[], %(kinds)s::text[], %(ats)s::timestamptz[],
            %(lease_tokens)s::uuid[], %(applied)s::boolean[], %(details)s::text[])
     AS e (message_id, isolated, event_id, kind, at, lease_token, applied, detail)
ON CONFLICT DO NOTHING
