-- Versions of the mail packages go out by the plans that releases go out by (control_plane/upgrades).

-- Names of packages, each with the versions that it may be brought to.
ALTER TABLE upgrades ADD COLUMN packages JSONB CHECK (jsonb_typeof(packages) = 'object');
ALTER TABLE upgrades DROP CONSTRAINT upgrades_one_payload;
ALTER TABLE upgrades ADD CONSTRAINT upgrades_one_payload CHECK (num_nonnulls(release, configuration, packages) = 1);
