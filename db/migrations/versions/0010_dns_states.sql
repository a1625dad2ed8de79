-- DNS records: what is wrong with them by name, what of ours stands inside others', and drift.

-- 'drifted': it was verified, and the zone says something else now.
ALTER TABLE dns_records DROP CONSTRAINT dns_records_verification_status_check;
ALTER TABLE dns_records ADD CONSTRAINT dns_records_verification_status_check
    CHECK (verification_status IN ('pending', 'verified', 'mismatch', 'drifted'));
-- By name (control_plane/dns/problems.py) what verification_detail says in a sentence; unset for what is verified.
ALTER TABLE dns_records ADD COLUMN problem VARCHAR(50);
-- Where ours was put into a record of others: theirs before, and with ours in it.
ALTER TABLE dns_records ADD COLUMN replaced_value TEXT;
ALTER TABLE dns_records ADD COLUMN blended_value TEXT;
ALTER TABLE dns_records ADD CONSTRAINT dns_records_blend_whole CHECK ((replaced_value IS NULL) = (blended_value IS NULL));
-- When the DNS host last took our part of the zone, and when the zone's servers last said what they should.
ALTER TABLE dns_records ADD COLUMN applied_at TIMESTAMPTZ;
ALTER TABLE dns_records ADD COLUMN last_good_at TIMESTAMPTZ;
UPDATE dns_records SET applied_at = published_at,
    last_good_at = CASE WHEN verification_status = 'verified' THEN last_verified_at END;

GRANT UPDATE (problem, last_good_at) ON dns_records TO penguin_api;
