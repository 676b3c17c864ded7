-- What the device itself is set to: a field of fraud control's type.

ALTER TABLE risk_events ADD COLUMN IF NOT EXISTS device_language LowCardinality(String);
