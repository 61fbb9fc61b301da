-- What phones say of their calls, as the API shows it, packed; by what names the call.
CREATE TABLE phone_reports (
    id INTEGER PRIMARY KEY,
    call TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    report BLOB NOT NULL
) STRICT;
CREATE INDEX phone_reports_by_call ON phone_reports (call);
