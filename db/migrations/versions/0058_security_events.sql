-- What happened to people's accounts (control_plane/people/security_events.py). Of people alone, like sessions: the API
-- role has no right on it, and it is of no tenant, for one must not see when its people work for another.

CREATE TABLE security_events (
    id UUID PRIMARY KEY,
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    at TIMESTAMPTZ NOT NULL,
    kind VARCHAR(30) NOT NULL,
    -- That began or ended; kept longer than the session.
    session_id UUID,
    -- The name of the passkey, or the issuer.
    about VARCHAR(255),
    -- Where it came from.
    address INET,
    user_agent VARCHAR(255) NOT NULL DEFAULT ''
);
CREATE INDEX idx_security_events_person ON security_events (person_id, id);
CREATE INDEX idx_security_events_age ON security_events (at);

GRANT SELECT, INSERT ON security_events TO penguin_identity;
GRANT SELECT (id, at), DELETE ON security_events TO penguin_system;

-- Who was in an erased tenant alone goes with it (control_plane/privacy/end_of_tenant.py).
GRANT SELECT (id), DELETE ON people TO penguin_system;
