-- Timelines go by when the log took each event. Providers tell whole seconds, by which a report could
-- stand before the message it is about.
DROP INDEX archive_by_conversation;
CREATE INDEX archive_by_conversation
    ON archive (number, customer_id, stored_time_ns, stream, incarnation, sequence);
