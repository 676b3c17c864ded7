-- Counts by the hour, for charts and alerts. Materialized views fill them with each block that is inserted. A block that comes again adds nothing here
-- either: the writer sets deduplicate_blocks_in_dependent_materialized_views, and these tables keep a window of tokens of their own, so that a block whose
-- rows were stored but whose counts were not (the engine was killed in between) is counted when it comes again, once.
--
-- Purges: what a person deletes leaves the rows' tables, and these counts stay as they were. They name nobody: no pseudonym, no item, only how many events of
-- a type an hour had in the whole shop. They say what was done, the rows' tables say what is kept; the two part ways with every deletion, and with every
-- row that gets too old. Do not reconcile one with the other.
--
-- Sum when reading (SELECT hour, sum(events) … GROUP BY hour): rows of one hour become one only when parts merge.

CREATE TABLE IF NOT EXISTS events_hourly
(
    `table`  LowCardinality(String) COMMENT 'The table whose rows are counted',
    hour     DateTime('UTC') CODEC(Delta, ZSTD(1)),
    type     LowCardinality(String),
    currency LowCardinality(String) COMMENT 'Of the amount: risk_events only',
    events   UInt64,
    amount   Int64 COMMENT 'Micros of the currency: values of orders, risk_events only'
)
ENGINE = SummingMergeTree((events, amount))
PARTITION BY toYYYYMM(hour)
ORDER BY (`table`, hour, type, currency)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS decisions_hourly
(
    hour       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    event_type LowCardinality(String),
    source     LowCardinality(String),
    outcome    LowCardinality(String),
    decisions  UInt64
)
ENGINE = SummingMergeTree(decisions)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, event_type, source, outcome)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS impressions_hourly
(
    hour        DateTime('UTC') CODEC(Delta, ZSTD(1)),
    surface     LowCardinality(String),
    impressions UInt64
)
ENGINE = SummingMergeTree(impressions)
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, surface)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS history_events_by_hour TO events_hourly AS
SELECT 'history_events' AS `table`, toStartOfHour(time) AS hour, type, '' AS currency, count() AS events, toInt64(0) AS amount
FROM history_events
GROUP BY hour, type;

CREATE MATERIALIZED VIEW IF NOT EXISTS personal_events_by_hour TO events_hourly AS
SELECT 'personal_events' AS `table`, toStartOfHour(time) AS hour, type, '' AS currency, count() AS events, toInt64(0) AS amount
FROM personal_events
GROUP BY hour, type;

CREATE MATERIALIZED VIEW IF NOT EXISTS trending_events_by_hour TO events_hourly AS
SELECT 'trending_events' AS `table`, toStartOfHour(time) AS hour, type, '' AS currency, count() AS events, toInt64(0) AS amount
FROM trending_events
GROUP BY hour, type;

CREATE MATERIALIZED VIEW IF NOT EXISTS risk_events_by_hour TO events_hourly AS
SELECT 'risk_events' AS `table`, toStartOfHour(time) AS hour, type, currency, count() AS events, sum(value) AS amount
FROM risk_events
GROUP BY hour, type, currency;

CREATE MATERIALIZED VIEW IF NOT EXISTS decisions_by_hour TO decisions_hourly AS
SELECT toStartOfHour(time) AS hour, event_type, source, outcome, count() AS decisions
FROM decisions
GROUP BY hour, event_type, source, outcome;

CREATE MATERIALIZED VIEW IF NOT EXISTS impressions_by_hour TO impressions_hourly AS
SELECT toStartOfHour(time) AS hour, surface, count() AS impressions
FROM impressions
GROUP BY hour, surface;
