-- A tenant changes an inbox's password; like before, it is written and never read back.

GRANT UPDATE (password_hash) ON inboxes TO penguin_api;
