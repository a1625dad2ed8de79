-- Tell which streams have as many bytes of large sends as they may. Leased is what is in the stream or in the agent's hand;
-- those of up to 64 KiB are bounded by their number, and idx_messages_leased_large has the few others.
SELECT line.vps_id, line.priority
FROM unnest(%(vps_ids)s::uuid[], %(priorities)s::smallint[], %(most_bytes)s::bigint[]) AS line (vps_id, priority, most)
CROSS JOIN LATERAL (
    SELECT sum(octet_length(m.payload)) AS bytes
    FROM messages m
    WHERE m.state = 'queued' AND m.vps_id = line.vps_id AND m.priority = line.priority
      AND octet_length(m.payload) > 65536
) AS large
WHERE large.bytes >= line.most
