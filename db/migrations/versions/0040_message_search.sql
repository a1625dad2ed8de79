-- GET /messages?recipient=…: one walk along this index, newest first. What else is searched for is looked for in the
-- rows on the way, so many at a time, and costs an insert nothing.

CREATE INDEX idx_messages_recipient ON messages (tenant_id, lower(recipient), id);
