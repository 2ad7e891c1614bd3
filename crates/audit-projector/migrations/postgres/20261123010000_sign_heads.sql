-- What was said of chains where they stood, signed, so that whoever keeps a copy can tell later
-- whether the past was written anew. Nothing here is ever updated.
CREATE TABLE signed_heads (
    stream         TEXT COLLATE "C" NOT NULL,
    incarnation    TEXT COLLATE "C" NOT NULL,
    sequence       BIGINT           NOT NULL,
    -- Name and id of the key.
    key_label      TEXT COLLATE "C" NOT NULL,
    signed_time_ns BIGINT           NOT NULL,
    -- A signed note, whole: text and signature.
    note           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (stream, incarnation, sequence, key_label)
);

-- When the archive first met each life of a stream, and which one it came after.
CREATE TABLE incarnations (
    stream               TEXT COLLATE "C" NOT NULL,
    incarnation          TEXT COLLATE "C" NOT NULL,
    begin_time_ns        BIGINT           NOT NULL,
    -- Empty for the first.
    previous_incarnation TEXT COLLATE "C" NOT NULL,
    -- Up to this sequence the two are the same, and archived once; 0 of a stream that began anew.
    common_sequence      BIGINT           NOT NULL,
    PRIMARY KEY (stream, incarnation)
);
