-- Whether the lists count the person from this event on.

ALTER TABLE trending_events ADD COLUMN IF NOT EXISTS established Bool;
