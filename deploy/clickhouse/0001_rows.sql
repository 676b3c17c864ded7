-- One table for each table of the Go declarations (privacyfilter/tables, risk/tables), with the same names and columns.
--
-- A block of rows is inserted with a deduplication token, and each table remembers the last 10,000 (non_replicated_deduplication_window). One block leaves a
-- token in each month that it touches, and only the newest block of each of the 16 partitions can come again, so that this is plenty.
-- ReplacingMergeTree is the second defence: rows that are equal in the whole ORDER BY become one when parts merge, and in a reading with FINAL at once.
-- ORDER BY is therefore the day and the table's Key; equal rows have one day, since they have one time.
--
-- Why the day comes first: the warehouse is counted and read by day, and a day is then one range of each part. A purge looks for one subject in all days:
-- with some 30 days in a month's part that is 30 short ranges, found in the index. The time itself is not in ORDER BY: the index would then be searched for
-- its place there, behind the subject, and a condition on time would read whole months.
--
-- Pseudonyms are String, not FixedString(16): many may be missing (an empty value would come back as 16 zeros), and some are longer. Random bytes do not
-- compress, and neither do the Key's hashes: CODEC(NONE) saves the attempt.
--
-- fsync: an offset is committed once its block is stored, so that a block must survive a power failure.
-- finished_mutations_to_keep: a purge is a mutation, whose text has the pseudonyms of those who are deleted; the engine would remember the last hundred.

CREATE TABLE IF NOT EXISTS history_events
(
    subject         String CODEC(NONE),
    event           String CODEC(NONE),
    type            LowCardinality(String),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    item_ids        Array(String) CODEC(ZSTD(1)),
    item_indexes    Array(Int64) CODEC(ZSTD(1)),
    item_quantities Array(Int64) CODEC(ZSTD(1)),
    item_prices     Array(Int64) CODEC(ZSTD(1)),
    search_term     String CODEC(ZSTD(1)),
    floor           String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, event)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS personal_events
(
    subject         String CODEC(NONE),
    event           String CODEC(NONE),
    session         String CODEC(ZSTD(1)),
    type            LowCardinality(String),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    item_ids        Array(String) CODEC(ZSTD(1)),
    item_indexes    Array(Int64) CODEC(ZSTD(1)),
    item_quantities Array(Int64) CODEC(ZSTD(1)),
    item_prices     Array(Int64) CODEC(ZSTD(1)),
    search_term     String CODEC(ZSTD(1)),
    surface         LowCardinality(String),
    recommendation  String CODEC(ZSTD(1)),
    locale          LowCardinality(String),
    floor           String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, event)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS impressions
(
    subject        String CODEC(NONE),
    event          String CODEC(ZSTD(1)),
    session        String CODEC(ZSTD(1)),
    time           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    surface        LowCardinality(String),
    recommendation String CODEC(ZSTD(1)),
    line           Int64 CODEC(ZSTD(1)),
    item_id        String CODEC(ZSTD(1)),
    position       Int64 CODEC(ZSTD(1)),
    locale         LowCardinality(String),
    floor          String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, event, line)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS trending_events
(
    contributor     String CODEC(NONE),
    event           String CODEC(NONE),
    window          Int64 CODEC(ZSTD(1)),
    type            LowCardinality(String),
    time            DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    item_ids        Array(String) CODEC(ZSTD(1)),
    item_indexes    Array(Int64) CODEC(ZSTD(1)),
    item_quantities Array(Int64) CODEC(ZSTD(1)),
    item_prices     Array(Int64) CODEC(ZSTD(1)),
    locale          LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), contributor, event)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS risk_events
(
    subject           String CODEC(NONE),
    event             String CODEC(NONE),
    session           String CODEC(ZSTD(1)),
    type              LowCardinality(String),
    time              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    channel           LowCardinality(String),
    `order`           String CODEC(ZSTD(1)),
    value             Int64 CODEC(ZSTD(1)),
    has_value         Bool,
    currency          LowCardinality(String),
    instrument        String CODEC(ZSTD(1)),
    billing_country   LowCardinality(String),
    shipping_country  LowCardinality(String),
    shipping_address  String CODEC(ZSTD(1)),
    counterparty      String CODEC(ZSTD(1)),
    counterparty_kind LowCardinality(String),
    device            String CODEC(ZSTD(1)),
    ip                String CODEC(ZSTD(1)),
    device_model      LowCardinality(String),
    device_os         LowCardinality(String),
    app_version       LowCardinality(String),
    email_domain      String CODEC(ZSTD(1)),
    email             String CODEC(ZSTD(1)),
    phone             String CODEC(ZSTD(1)),
    signup_time       DateTime64(6, 'UTC') CODEC(ZSTD(1)),
    account_status    LowCardinality(String),
    failure_reason    LowCardinality(String),
    user_agent        String CODEC(ZSTD(1)),
    carrier           LowCardinality(String),
    mac               String CODEC(ZSTD(1)),
    imei              String CODEC(ZSTD(1)),
    event_hash        UInt64 CODEC(NONE)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, event)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS consents
(
    subject        String CODEC(NONE),
    revision       String CODEC(ZSTD(1)),
    time           DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    act            LowCardinality(String),
    purpose        LowCardinality(String),
    decision       LowCardinality(String),
    object         LowCardinality(String),
    policy_version LowCardinality(String),
    jurisdiction   LowCardinality(String),
    effective_at   DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    surface        LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, revision, purpose)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;

CREATE TABLE IF NOT EXISTS decisions
(
    decision_id       String CODEC(ZSTD(1)),
    event             String CODEC(NONE),
    subject           String CODEC(NONE),
    event_type        LowCardinality(String),
    time              DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    decided_at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    expires_at        DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)),
    source            LowCardinality(String),
    outcome           LowCardinality(String),
    score             Int64 CODEC(ZSTD(1)),
    rules             Array(LowCardinality(String)),
    shadow_rules      Array(LowCardinality(String)),
    reasons           Array(LowCardinality(String)),
    reason_values     Array(String) CODEC(ZSTD(1)),
    undecided_rules   Array(LowCardinality(String)),
    undecided_missing Array(LowCardinality(String)),
    feature_names     Array(LowCardinality(String)),
    feature_values    Array(String) CODEC(ZSTD(1)),
    model_version     LowCardinality(String),
    policy_version    LowCardinality(String),
    features_digest   LowCardinality(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (toDate(time), subject, decision_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, finished_mutations_to_keep = 1;
