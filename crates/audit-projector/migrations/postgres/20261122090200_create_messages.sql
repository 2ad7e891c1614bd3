-- The read model of outbound messages. Derived, as conversations are; it also tells which
-- messages are over and may leave the log.

CREATE TABLE messages (
    message_id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    number               TEXT COLLATE "C" NOT NULL,
    customer_id          TEXT COLLATE "C" NOT NULL,
    brand_id             TEXT COLLATE "C" NOT NULL,
    state                INTEGER          NOT NULL,
    outcome              INTEGER          NOT NULL,
    outcome_reason       TEXT COLLATE "C" NOT NULL,
    delivery_status      INTEGER          NOT NULL,
    attempt_count        BIGINT           NOT NULL,
    route                INTEGER          NOT NULL,
    client_reference     TEXT COLLATE "C" NOT NULL,
    request_time_ns      BIGINT,
    expire_time_ns       BIGINT,
    update_time_ns       BIGINT,
    end_time_ns          BIGINT,
    -- Its subjects were removed from the log, and nothing new came since.
    is_purged            BOOLEAN          NOT NULL,
    position_stream      TEXT COLLATE "C" NOT NULL,
    position_incarnation TEXT COLLATE "C" NOT NULL,
    position_sequence    BIGINT           NOT NULL
);

CREATE INDEX messages_by_end ON messages (is_purged, end_time_ns, message_id);
