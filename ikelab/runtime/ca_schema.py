"""The tables of a certificate server's store (`store.py`)."""

CA_SCHEMA = """
CREATE TABLE IF NOT EXISTS authority (
    generation INTEGER PRIMARY KEY, key BLOB NOT NULL, certificate BLOB NOT NULL,
    chain TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rollover (
    only INTEGER PRIMARY KEY CHECK (only = 1), generation INTEGER NOT NULL, key BLOB NOT NULL,
    certificate BLOB NOT NULL, chain TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS former_certificate (
    number INTEGER PRIMARY KEY AUTOINCREMENT, generation INTEGER NOT NULL,
    certificate BLOB NOT NULL, UNIQUE (generation, certificate)) STRICT;
CREATE TABLE IF NOT EXISTS serial (
    only INTEGER PRIMARY KEY CHECK (only = 1), last INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO serial VALUES (1, 0);
CREATE TABLE IF NOT EXISTS issued (serial INTEGER PRIMARY KEY, certificate BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS request (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER UNIQUE CHECK (id BETWEEN 1 AND 999),
    generation INTEGER NOT NULL, transaction_id TEXT NOT NULL, request_digest BLOB NOT NULL,
    signer_key BLOB NOT NULL, renews INTEGER NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'authorized', 'granted', 'rejected')),
    request BLOB NOT NULL, subject BLOB NOT NULL, received INTEGER NOT NULL,
    automatic INTEGER NOT NULL, serial INTEGER REFERENCES issued (serial),
    CHECK ((state = 'granted') = (serial IS NOT NULL)),
    UNIQUE (generation, transaction_id, request_digest, signer_key, renews)) STRICT;
CREATE INDEX IF NOT EXISTS request_state ON request (state, received);
CREATE INDEX IF NOT EXISTS request_decided ON request (number)
    WHERE id IS NOT NULL AND state NOT IN ('pending', 'authorized');
CREATE TABLE IF NOT EXISTS revoked (
    position INTEGER PRIMARY KEY, serial INTEGER NOT NULL UNIQUE, at INTEGER NOT NULL,
    reason INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS crl (
    number INTEGER PRIMARY KEY, this_update INTEGER NOT NULL, next_update INTEGER NOT NULL,
    crl BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS password (
    digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, open INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
    octets BLOB NOT NULL) STRICT;
"""
