-- fleet:write opened all commands; keys that had it keep them.
UPDATE platform_keys SET scopes = ARRAY(
    SELECT DISTINCT unnest(scopes || ARRAY['commands:look', 'commands:run', 'commands:hold', 'commands:delete',
        'commands:restore', 'commands:rotate-key']) ORDER BY 1)
WHERE 'fleet:write' = ANY(scopes);
