-- Every other column compares by bytes. Where one of these met one of those, the index over this one
-- could not be used, and each row of an answer read the whole table of keys.
ALTER TABLE customer_keys
    ALTER COLUMN owner TYPE TEXT COLLATE "C",
    ALTER COLUMN master_key_id TYPE TEXT COLLATE "C";

ALTER TABLE customer_consents
    ALTER COLUMN customer_id TYPE TEXT COLLATE "C";

ALTER TABLE search_documents
    ALTER COLUMN stream TYPE TEXT COLLATE "C",
    ALTER COLUMN incarnation TYPE TEXT COLLATE "C",
    ALTER COLUMN brand_id TYPE TEXT COLLATE "C",
    ALTER COLUMN number TYPE TEXT COLLATE "C",
    ALTER COLUMN customer_id TYPE TEXT COLLATE "C";

ALTER TABLE read_models
    ALTER COLUMN served TYPE TEXT COLLATE "C",
    ALTER COLUMN building TYPE TEXT COLLATE "C";

ALTER TABLE read_model_marks
    ALTER COLUMN stream TYPE TEXT COLLATE "C",
    ALTER COLUMN incarnation TYPE TEXT COLLATE "C";
