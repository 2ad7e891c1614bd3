-- The archive: every event of the log, each row chained to the one before it, kept after the log
-- has purged it. Nothing here is ever updated but the heads.
--
-- Times are nanoseconds since 1970, UTC: what the broker's stored time has, and what the
-- commitment of a row is computed from. Text sorts by its bytes, so that no library's update
-- unsorts an index. U+0000, which text here cannot hold, stands as U+0010 and `0`; U+0010 is
-- doubled.

-- How far each chain has come. A batch advances its head and inserts its rows in one transaction,
-- so that of two writers only one can go on from the same place.
CREATE TABLE archive_heads (
    stream        TEXT COLLATE "C" NOT NULL,
    incarnation   TEXT COLLATE "C" NOT NULL,
    last_sequence BIGINT           NOT NULL,
    link          BYTEA            NOT NULL,
    row_count     BIGINT           NOT NULL,
    PRIMARY KEY (stream, incarnation)
);

CREATE TABLE archive (
    stream         TEXT COLLATE "C" NOT NULL,
    incarnation    TEXT COLLATE "C" NOT NULL,
    sequence       BIGINT           NOT NULL,
    subject        TEXT COLLATE "C" NOT NULL,
    event_type     TEXT COLLATE "C" NOT NULL,
    event_id       TEXT COLLATE "C" NOT NULL,
    -- What the row is about, for looking it up; empty where it does not apply.
    number         TEXT COLLATE "C" NOT NULL,
    customer_id    TEXT COLLATE "C" NOT NULL,
    message_id     TEXT COLLATE "C" NOT NULL,
    brand_id       TEXT COLLATE "C" NOT NULL,
    event_time_ns  BIGINT           NOT NULL,
    stored_time_ns BIGINT           NOT NULL,
    -- JSON: an array of pairs, since order and repetition are part of what was stored. Text,
    -- since JSONB would lose both, and refuses what JSON may hold.
    headers        TEXT COLLATE "C" NOT NULL,
    payload        BYTEA            NOT NULL,
    -- Beside the row and not in the chain: erasing payload and salt leaves the chain whole.
    salt           BYTEA            NOT NULL,
    commitment     BYTEA            NOT NULL,
    link           BYTEA            NOT NULL,
    -- The same fact stands in an earlier row, too; timelines leave it out.
    is_repeat      BOOLEAN          NOT NULL,
    UNIQUE (stream, incarnation, sequence),
    FOREIGN KEY (stream, incarnation) REFERENCES archive_heads (stream, incarnation)
);

-- Timelines, newest first.
CREATE INDEX archive_by_conversation
    ON archive (number, customer_id, event_time_ns, stream, incarnation, sequence);
CREATE INDEX archive_by_message ON archive (message_id, stream, incarnation, sequence);
-- Whether a fact is known already. By hash, since an id of any length has to be taken.
CREATE INDEX archive_by_event ON archive USING hash (event_id);
-- How far the log may be purged.
CREATE INDEX archive_by_stored_time ON archive (stream, incarnation, stored_time_ns, sequence);
