-- Orders at providers that charge at once and answer without an id: written before they are sent.

CREATE TABLE provider_orders (
    -- The provider and a hash of the account's key.
    account TEXT NOT NULL,
    -- The server's name at the provider.
    name TEXT NOT NULL,
    -- Which attempt wrote the row; only that one may take it back.
    attempt UUID NOT NULL,
    -- What the server costs a month, in the provider's currency.
    monthly NUMERIC(10, 2) NOT NULL CHECK (monthly > 0),
    placed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- When the server was first seen: until then nobody knows what became of the order.
    found_at TIMESTAMPTZ,
    -- When the server was seen to be gone.
    ended_at TIMESTAMPTZ,
    -- How often its disk was written anew.
    generation INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, name)
);
CREATE UNIQUE INDEX idx_provider_orders_unresolved ON provider_orders (account)
    WHERE found_at IS NULL AND ended_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON provider_orders TO penguin_system;
