-- Many sends under one idempotency key, and sends that send an uncertain one again.

-- ---------------------------------------------------------------- batches

-- A key stands for one send or for a batch. Of a batch it holds the whole answer, in the order of its messages: the
-- ids of the sends, NULL where a message was refused, and under that message's place the problem.
ALTER TABLE idempotency_keys
    ALTER COLUMN message_id DROP NOT NULL,
    ADD COLUMN message_ids UUID[],
    ADD COLUMN problems JSONB,
    ADD CHECK (num_nonnulls(message_id, message_ids) = 1),
    ADD CHECK ((message_ids IS NULL) = (problems IS NULL));

-- A batch's rows come by COPY into a temporary table. Everybody may make those unless an operator took that away.
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO penguin_api', current_database());
END
$$;

-- ---------------------------------------------------------------- resends

-- The uncertain send that this one sends again. Once: a request that is repeated finds the first one's send.
ALTER TABLE messages
    ADD COLUMN resend_of UUID,
    ADD FOREIGN KEY (tenant_id, resend_of) REFERENCES messages (tenant_id, id) ON DELETE SET NULL (resend_of);
CREATE UNIQUE INDEX idx_messages_resend_of ON messages (tenant_id, resend_of) WHERE resend_of IS NOT NULL;

-- To send a message again the API reads it; of its own tenant, like every row.
GRANT SELECT (payload, resend_of) ON messages TO penguin_api;
