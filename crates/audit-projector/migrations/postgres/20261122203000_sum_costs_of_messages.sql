-- What a message cost so far, so that a brand's figures are a sum and not a walk over all of its
-- messages. Derived: what was archived before is projected again.
ALTER TABLE messages ADD COLUMN cost_micros BIGINT NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN cost_currency TEXT COLLATE "C" NOT NULL DEFAULT '';
