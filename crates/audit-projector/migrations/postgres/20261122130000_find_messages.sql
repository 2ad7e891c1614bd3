-- Messages are found by what callers know of them. All of it is derived: what was archived before
-- is projected again, message_rebuild tells how far.

-- Why a message is in its state; once it is over, how it ended.
ALTER TABLE messages RENAME COLUMN outcome_reason TO reason;

-- Attempts and labels, as casement.message.v1.Message: nothing is looked up by them here.
ALTER TABLE messages ADD COLUMN details BYTEA NOT NULL DEFAULT '';

-- A list is in the order of requests, whatever it is narrowed by.
CREATE INDEX messages_by_request ON messages (request_time_ns, message_id);
CREATE INDEX messages_by_brand ON messages (brand_id, request_time_ns, message_id);
CREATE INDEX messages_by_number ON messages (number, request_time_ns, message_id);
CREATE INDEX messages_by_customer ON messages (customer_id, request_time_ns, message_id);
CREATE INDEX messages_by_state ON messages (state, request_time_ns, message_id);
CREATE INDEX messages_by_reason ON messages (reason, request_time_ns, message_id);

-- What several messages may share, or one may have several of: reference, labels, provider's ids
-- and codes. A term is kept for good, and stands in the order of requests as well.
CREATE TABLE message_terms (
    term            TEXT COLLATE "C" NOT NULL,
    request_time_ns BIGINT NOT NULL,
    message_id      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (term, request_time_ns, message_id)
);

-- How far messages were projected again from the archive, and by which version of projecting.
CREATE TABLE message_rebuild (
    version     BIGINT NOT NULL PRIMARY KEY,
    incarnation TEXT COLLATE "C" NOT NULL,
    sequence    BIGINT NOT NULL,
    is_done     BOOLEAN NOT NULL
);
