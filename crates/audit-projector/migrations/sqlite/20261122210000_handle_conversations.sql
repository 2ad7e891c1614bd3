-- Where conversations stand, and how colleagues handle them. All of it is derived from the archive;
-- the smallest value stands for a time that has not come.

ALTER TABLE conversations ADD COLUMN is_end_announced BOOLEAN NOT NULL DEFAULT FALSE;
-- When the window closed or will.
ALTER TABLE conversations ADD COLUMN lock_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
-- When the log took the newest of the customer.
ALTER TABLE conversations ADD COLUMN heard_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
ALTER TABLE conversations ADD COLUMN template_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
ALTER TABLE conversations ADD COLUMN template_attempt TEXT NOT NULL DEFAULT '';
-- Empty for nobody.
ALTER TABLE conversations ADD COLUMN assignee TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN closed_through_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
ALTER TABLE conversations ADD COLUMN read_through_time_ns BIGINT NOT NULL DEFAULT -9223372036854775808;
-- All of it, as casement.events.v1.Handling.
ALTER TABLE conversations ADD COLUMN handling BLOB NOT NULL DEFAULT X'';
-- Where the last event of a colleague stands.
ALTER TABLE conversations ADD COLUMN handled_incarnation TEXT NOT NULL DEFAULT '';
ALTER TABLE conversations ADD COLUMN handled_sequence BIGINT NOT NULL DEFAULT 0;

-- What was there before is neither unread nor open beyond its published end.
UPDATE conversations SET lock_time_ns = expire_time_ns WHERE expire_time_ns < 9223372036854775807;

CREATE INDEX conversations_by_assignee ON conversations (assignee, expire_time_ns, number, customer_id);
CREATE INDEX conversations_by_heard ON conversations (heard_time_ns, number, customer_id);

-- A label that was taken away stays as one that is not set: nothing is ever deleted here.
CREATE TABLE conversation_labels (
    label       TEXT NOT NULL,
    number      TEXT NOT NULL,
    customer_id TEXT NOT NULL,
    is_set      BOOLEAN NOT NULL,
    PRIMARY KEY (label, number, customer_id)
);

-- Which notes mention whom, in the order in which the log took them.
CREATE TABLE mentions (
    colleague      TEXT NOT NULL,
    brand_id       TEXT NOT NULL,
    stored_time_ns BIGINT NOT NULL,
    stream         TEXT NOT NULL,
    incarnation    TEXT NOT NULL,
    sequence       BIGINT NOT NULL,
    PRIMARY KEY (colleague, stored_time_ns, stream, incarnation, sequence)
);
