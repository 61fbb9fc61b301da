-- The messages of a call, packed.
ALTER TABLE records ADD COLUMN ladder BLOB;
-- What trends are made of, by minute and by hour, both counted from 1970.
CREATE TABLE rollup_minutes (
    at INTEGER NOT NULL,
    grouping INTEGER NOT NULL,
    key TEXT NOT NULL,
    sums BLOB NOT NULL,
    PRIMARY KEY (at, grouping, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollup_hours (
    at INTEGER NOT NULL,
    grouping INTEGER NOT NULL,
    key TEXT NOT NULL,
    sums BLOB NOT NULL,
    PRIMARY KEY (at, grouping, key)
) STRICT, WITHOUT ROWID;
-- Numbers of which there is one each.
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
-- Alerts by what they were raised for, newest last.
CREATE INDEX alerts_by_state ON alerts (state, id);
