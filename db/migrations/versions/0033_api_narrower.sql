-- The API's role may lock no table against all others, which a right to update a whole row gives; and it keeps nothing
-- outside of tables, where no policy holds.

REVOKE UPDATE ON kept_answers FROM penguin_api;
GRANT UPDATE (request_sha256, status, headers, body, created_at) ON kept_answers TO penguin_api;

REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea), lo_open(oid, integer),
    lo_put(oid, bigint, bytea), lo_get(oid), lo_get(oid, bigint, integer), lo_unlink(oid), lo_truncate(integer, integer),
    lo_truncate64(integer, bigint), lowrite(integer, bytea), loread(integer, integer) FROM PUBLIC;
