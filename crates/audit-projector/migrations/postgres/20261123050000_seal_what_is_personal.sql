-- What stands here about a customer is sealed under a key of that customer's own.

-- Keys, each wrapped under a master key that is not in the database. The owner is a customer's id;
-- or ~ and a stream, for what belongs to no customer; or ~search, for what stands in indexes.
CREATE TABLE customer_keys (
    owner           TEXT   NOT NULL PRIMARY KEY,
    -- Both empty once it is destroyed. Its row stays, so that there is never another one.
    master_key_id   TEXT   NOT NULL,
    wrapped         BYTEA  NOT NULL,
    destroy_time_ns BIGINT
);

-- A sealed row of the archive holds salt and payload together in its payload, and no salt: whoever
-- destroys the key destroys the salt as well. Rows from before are sealed in the background; this
-- index holds what is left of them, and in the end nothing.
CREATE INDEX archive_in_the_open ON archive (stream, incarnation, sequence)
    WHERE length(salt) > 0;

-- What the customer is called and last wrote, in place of the columns that it stood in before; and
-- what details and client_reference of a message held. What was written before is sealed when the
-- read models are made anew, as they are after this.
ALTER TABLE conversations ADD COLUMN sealed BYTEA NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN sealed BYTEA NOT NULL DEFAULT '';
