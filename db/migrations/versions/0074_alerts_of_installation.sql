-- An alert of no server and no tenant is about the installation itself; tenants' policies show it to none.
ALTER TABLE alerts
    ALTER tenant_id DROP NOT NULL,
    ALTER vps_id DROP NOT NULL,
    ADD CONSTRAINT alerts_subject_check CHECK ((tenant_id IS NULL) = (vps_id IS NULL));
DROP INDEX idx_alerts_one;
CREATE UNIQUE INDEX idx_alerts_one ON alerts (vps_id, rule) NULLS NOT DISTINCT WHERE state <> 'resolved';

-- What was told of backups once a day: alerts tell of them now.
DELETE FROM alert_notices WHERE kind = 'platform';
ALTER TABLE alert_notices
    DROP CONSTRAINT alert_notices_kind_check,
    ADD CONSTRAINT alert_notices_kind_check
        CHECK (kind IN ('opened', 'escalated', 'resolved', 'outage', 'outage_over', 'test'));
