-- The owner of the schema and the database, for a PostgreSQL of yours: psql -f roles.sql as its superuser, once.
--
-- The owner is nobody's role while the platform runs: `./penguin database upgrade` works as it, which makes the tables
-- and the roles of the processes. Those own nothing and cannot bypass row-level security; processes refuse to start
-- with a role that could. Then: \password penguinmails_owner
CREATE ROLE penguinmails_owner LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS NOCREATEDB;
-- Its trigger functions see the whole tenant whoever sets them off, by this parameter.
GRANT SET ON PARAMETER "app.workspaces" TO penguinmails_owner;
CREATE DATABASE penguinmails OWNER penguinmails_owner ENCODING 'UTF8' TEMPLATE template0;
-- Whoever copies the database sees all of it: the role of the backups service, where that runs. Until it has a password
-- nobody logs in by one.
CREATE ROLE penguinmails_backups LOGIN REPLICATION BYPASSRLS NOSUPERUSER NOCREATEROLE NOCREATEDB IN ROLE penguinmails_owner;
\connect penguinmails
GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO penguinmails_backups;
