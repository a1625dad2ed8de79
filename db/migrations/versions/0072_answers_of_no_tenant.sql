-- Answers to requests with an Idempotency-Key that are of no tenant, kept for a day as those in kept_answers are
-- (control_plane/rest/kept_places.py).

-- At /auth. Bodies there hold passwords: neither the key nor whose it is stands here, nor a hash that somebody who reads
-- this could try passwords on. Both are HMACs, and the database does not have their secret.
CREATE TABLE kept_answers_to_people (
    -- Of the session and the key; of somebody who is not logged in, of the whole request and the key.
    place BYTEA PRIMARY KEY CHECK (octet_length(place) = 32),
    request_hmac BYTEA NOT NULL CHECK (octet_length(request_hmac) = 32),
    -- NULL while the request is being worked on.
    status SMALLINT CHECK (status BETWEEN 200 AND 299),
    headers JSONB NOT NULL DEFAULT '{}',
    -- NULL for an answer that shows a secret, which is not kept.
    body BYTEA,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_kept_answers_to_people_age ON kept_answers_to_people (created_at);

GRANT SELECT, INSERT, DELETE ON kept_answers_to_people TO penguin_identity;
GRANT UPDATE (request_hmac, status, headers, body, created_at) ON kept_answers_to_people TO penguin_identity;
-- Who forgets what is old does not see what it says; a lock takes a right to change something.
GRANT SELECT (place, created_at), UPDATE (created_at), DELETE ON kept_answers_to_people TO penguin_system;

-- Of the method, target and body that first used the key, under a secret that the database does not have: bodies hold
-- passwords of inboxes. What was kept before is refused as another request for a day.
ALTER TABLE kept_answers RENAME COLUMN request_sha256 TO request_hmac;

-- At the operators' door. The secret is of the operator's API key.
CREATE TABLE kept_answers_to_operators (
    key_id UUID NOT NULL REFERENCES platform_keys (id),
    key VARCHAR(255) NOT NULL,
    request_hmac BYTEA NOT NULL CHECK (octet_length(request_hmac) = 32),
    status SMALLINT CHECK (status BETWEEN 200 AND 299),
    headers JSONB NOT NULL DEFAULT '{}',
    -- NULL for an answer that shows a secret, which is not kept.
    body BYTEA,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, key)
);
CREATE INDEX idx_kept_answers_to_operators_age ON kept_answers_to_operators (created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON kept_answers_to_operators TO penguin_system;
