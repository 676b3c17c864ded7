-- What of a person was known where a choice was asked for: a permission yields to a restriction that it does not know.

ALTER TABLE consents ADD COLUMN IF NOT EXISTS known String CODEC(ZSTD(1));
