-- What else is kept, each a text under a name: the rules of alerts as the API has changed them.
CREATE TABLE texts (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
