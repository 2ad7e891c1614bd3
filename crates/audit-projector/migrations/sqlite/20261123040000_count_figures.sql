-- Figures, how numbers and templates stand, and who did what. All of it is derived: each generation
-- is counted from the archive, beside the one that is served until it is complete.

CREATE TABLE figure_generations (
    generation BIGINT NOT NULL PRIMARY KEY,
    -- Which version of counting it is by, and up to which wish to have all made anew.
    version    BIGINT NOT NULL,
    ask        BIGINT NOT NULL,
    -- One more with each transaction, so that of two processes one goes on and the other looks again.
    revision   BIGINT NOT NULL,
    -- 0 is being counted, 1 is served, 2 is gone.
    state      BIGINT NOT NULL
);

-- How far each chain was counted.
CREATE TABLE figure_cursors (
    generation  BIGINT NOT NULL,
    stream      TEXT   NOT NULL,
    incarnation TEXT   NOT NULL,
    sequence    BIGINT NOT NULL,
    PRIMARY KEY (generation, stream, incarnation)
);

-- What is known of each thing that counts, such as a message: all facts about it, joined. JSON.
CREATE TABLE figure_things (
    generation BIGINT NOT NULL,
    thing      TEXT   NOT NULL,
    known      TEXT   NOT NULL,
    PRIMARY KEY (generation, thing)
);

-- The sums: quarters of an hour since 1970, since days begin at one in every time zone.
CREATE TABLE figure_sums (
    generation BIGINT NOT NULL,
    brand_id   TEXT   NOT NULL,
    -- Of messages, a keyed digest; empty for all traffic.
    label      TEXT   NOT NULL,
    quarter    BIGINT NOT NULL,
    number     TEXT   NOT NULL,
    measure    TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    value      BIGINT NOT NULL,
    PRIMARY KEY (generation, brand_id, label, quarter, number, measure, detail)
);
CREATE INDEX figure_sums_by_quarter ON figure_sums (generation, label, quarter);
CREATE INDEX figure_sums_by_number ON figure_sums (generation, number, label, quarter);

-- The sums of the last day by minute, for plots.
CREATE TABLE figure_minutes (
    generation BIGINT NOT NULL,
    number     TEXT   NOT NULL,
    minute     BIGINT NOT NULL,
    measure    TEXT   NOT NULL,
    value      BIGINT NOT NULL,
    PRIMARY KEY (generation, number, minute, measure)
);
CREATE INDEX figure_minutes_by_minute ON figure_minutes (generation, minute);

-- When the newest that the platform told of a number was received.
CREATE TABLE figure_webhooks (
    generation BIGINT NOT NULL,
    number     TEXT   NOT NULL,
    at_ns      BIGINT NOT NULL,
    PRIMARY KEY (generation, number)
);

-- When each customer of a portfolio was last written to outside their window.
CREATE TABLE figure_contacts (
    generation   BIGINT NOT NULL,
    portfolio_id TEXT   NOT NULL,
    customer_id  TEXT   NOT NULL,
    at_ns        BIGINT NOT NULL,
    PRIMARY KEY (generation, portfolio_id, customer_id)
);
CREATE INDEX figure_contacts_by_time ON figure_contacts (generation, portfolio_id, at_ns);
CREATE INDEX figure_contacts_by_customer ON figure_contacts (customer_id);

-- The newest record of each brand, number, template and halt: a payload in hexadecimal.
CREATE TABLE figure_records (
    generation BIGINT NOT NULL,
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    stored_ns  BIGINT NOT NULL,
    record     TEXT   NOT NULL,
    PRIMARY KEY (generation, kind, name)
);

-- Who did what.
CREATE TABLE figure_acts (
    generation  BIGINT NOT NULL,
    -- The event's id; its place, if it has none.
    act         TEXT   NOT NULL,
    time_ns     BIGINT NOT NULL,
    event_type  TEXT   NOT NULL,
    caller      TEXT   NOT NULL,
    author      TEXT   NOT NULL,
    brand_id    TEXT   NOT NULL,
    number      TEXT   NOT NULL,
    target      TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    stream      TEXT   NOT NULL,
    incarnation TEXT   NOT NULL,
    sequence    BIGINT NOT NULL,
    PRIMARY KEY (generation, act)
);
CREATE INDEX figure_acts_by_time ON figure_acts (generation, time_ns, act);
CREATE INDEX figure_acts_by_brand ON figure_acts (generation, brand_id, time_ns, act);
CREATE INDEX figure_acts_by_caller ON figure_acts (generation, caller, time_ns, act);
