-- Quantities may be parts: 0.75 is 750000. item_quantities stays for the rows that were stored before, in whole units; no row gets one any more.

ALTER TABLE history_events ADD COLUMN IF NOT EXISTS item_quantity_micros Array(Int64) DEFAULT arrayMap(q -> 1000000 * q, item_quantities) AFTER item_quantities;
ALTER TABLE personal_events ADD COLUMN IF NOT EXISTS item_quantity_micros Array(Int64) DEFAULT arrayMap(q -> 1000000 * q, item_quantities) AFTER item_quantities;
ALTER TABLE trending_events ADD COLUMN IF NOT EXISTS item_quantity_micros Array(Int64) DEFAULT arrayMap(q -> 1000000 * q, item_quantities) AFTER item_quantities;
