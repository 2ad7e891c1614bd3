-- What lists of conversations show and are narrowed by, and what search goes by. All of it is
-- derived: it is made anew from the archive beside what is served.

-- So much no colleague has read.
ALTER TABLE conversations ADD COLUMN unread_count BIGINT NOT NULL DEFAULT 0;
-- Since when the customer waits for an answer; the largest value if they do not.
ALTER TABLE conversations ADD COLUMN waiting_since_ns BIGINT NOT NULL DEFAULT 9223372036854775807;
ALTER TABLE conversations ADD COLUMN thread_owner INTEGER NOT NULL DEFAULT 0;
-- The last event that moved it in a list, and when the log took that.
ALTER TABLE conversations ADD COLUMN moved_sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN moved_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
-- What these are counted from, and where it stood before: JSON, times only.
ALTER TABLE conversations ADD COLUMN tally BYTEA NOT NULL DEFAULT '';

CREATE INDEX conversations_by_waiting ON conversations (waiting_since_ns, number, customer_id);
CREATE INDEX conversations_by_move ON conversations (moved_sequence, moved_time_ns);

-- What each customer allows, as casement.conversation.v1.CustomerConsents: no wording, no proof.
CREATE TABLE customer_consents (
    customer_id TEXT  NOT NULL PRIMARY KEY,
    consents    BYTEA NOT NULL
);

-- What was said, in the order in which the log took it, with keyed digests of its words, whose
-- number and place nothing tells; the text stands in the archive.
CREATE TABLE search_documents (
    place       BIGINT   NOT NULL,
    stream      TEXT     NOT NULL,
    incarnation TEXT     NOT NULL,
    sequence    BIGINT   NOT NULL,
    number      TEXT     NOT NULL,
    customer_id TEXT     NOT NULL,
    brand_id    TEXT     NOT NULL,
    direction   BIGINT   NOT NULL,
    words       TSVECTOR NOT NULL,
    PRIMARY KEY (place, stream, incarnation, sequence)
);
CREATE INDEX search_documents_by_words ON search_documents USING GIN (words);
CREATE INDEX search_documents_by_customer ON search_documents (customer_id, place);
