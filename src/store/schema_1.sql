-- Finished calls: what lists are filtered and sorted by. Times are nanoseconds since 1970,
-- numbers thousandths of what the API shows.
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    state TEXT NOT NULL,
    has_alert INTEGER NOT NULL,
    mos_milli INTEGER,
    loss_milli INTEGER,
    jitter_us INTEGER,
    duration_ms INTEGER NOT NULL,
    codec TEXT,
    user_agent TEXT,
    from_uri TEXT,
    to_uri TEXT,
    source TEXT
) STRICT;
CREATE INDEX calls_by_call_id ON calls (call_id);
-- The same calls as the API shows them, packed; apart, so that facts are read without them.
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    record BLOB NOT NULL,
    timeline BLOB
) STRICT;
-- Alerts through their life.
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    raised_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL,
    resolved_ns INTEGER,
    call_id TEXT,
    message TEXT NOT NULL,
    evidence TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_call_id ON alerts (call_id) WHERE call_id IS NOT NULL;
