-- The read model of conversations. Derived: it can be dropped and projected again from the archive.

CREATE TABLE conversations (
    number                TEXT COLLATE "C" NOT NULL,
    customer_id           TEXT COLLATE "C" NOT NULL,
    brand_id              TEXT COLLATE "C" NOT NULL,
    -- As last published. Whether an open one is still open is told by expire_time_ns alone.
    window_id             TEXT COLLATE "C" NOT NULL,
    window_state          INTEGER          NOT NULL,
    closed_reason         INTEGER          NOT NULL,
    open_time_ns          BIGINT,
    -- The largest value where there never was a window, so that those come last.
    expire_time_ns        BIGINT           NOT NULL,
    last_inbound_time_ns  BIGINT,
    last_outbound_time_ns BIGINT,
    last_inbound_text     TEXT COLLATE "C" NOT NULL,
    profile_name          TEXT COLLATE "C" NOT NULL,
    inbound_count         BIGINT           NOT NULL,
    outbound_count        BIGINT           NOT NULL,
    -- The last event that changed this row.
    position_stream       TEXT COLLATE "C" NOT NULL,
    position_incarnation  TEXT COLLATE "C" NOT NULL,
    position_sequence     BIGINT           NOT NULL,
    PRIMARY KEY (number, customer_id)
);

-- Lists run by when the window ends.
CREATE INDEX conversations_by_expiry ON conversations (expire_time_ns, number, customer_id);

-- Facts that were counted, so that one that arrives twice counts once.
CREATE TABLE counted_facts (
    fact TEXT COLLATE "C" NOT NULL PRIMARY KEY
);
