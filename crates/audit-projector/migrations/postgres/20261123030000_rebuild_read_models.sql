-- Read models are made anew from the archive beside those that are served, and take their place in
-- one transaction.

-- One row.
CREATE TABLE read_models (
    id           BIGINT NOT NULL PRIMARY KEY,
    -- Versions of the models that what is served was made by, and what is being built; empty if
    -- that is not known, or nothing is.
    served       TEXT   NOT NULL,
    building     TEXT   NOT NULL,
    -- How often somebody asked for it, and up to which wish it is done, and is being done.
    ask_count    BIGINT NOT NULL,
    served_ask   BIGINT NOT NULL,
    building_ask BIGINT NOT NULL,
    -- Rows of the archive that went into what is being built.
    row_count    BIGINT NOT NULL
);
INSERT INTO read_models (id, served, building, ask_count, served_ask, building_ask, row_count)
VALUES (1, '', '', 0, 0, 0, 0);

-- How far into each chain that has come.
CREATE TABLE read_model_marks (
    stream      TEXT   NOT NULL,
    incarnation TEXT   NOT NULL,
    sequence    BIGINT NOT NULL,
    PRIMARY KEY (stream, incarnation)
);
