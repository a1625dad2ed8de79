-- Domains of their own: there before their first inbox, and until they are deleted.

ALTER TABLE domains ADD COLUMN kept BOOLEAN NOT NULL DEFAULT false;
GRANT UPDATE (kept) ON domains TO penguin_api;
GRANT DELETE ON domains TO penguin_api;
