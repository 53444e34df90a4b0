"""Everything of version 1.0: tables, search index, counters.

Written out as SQL, independent of what the models say later. What is in braces is the database's own.
"""

import secrets

from contacts_service.db.migrations.initial_changes import scripts as change_scripts

TYPES = {  # Of SQLite, and of PostgreSQL.
    "serial": ("INTEGER", "BIGSERIAL"),
    "bigint": ("INTEGER", "BIGINT"),
    "boolean": ("INTEGER", "BOOLEAN"),
    "uuid": ("TEXT", "UUID"),
    "time": ("TEXT", "TIMESTAMPTZ"),
    "json": ("TEXT", "JSON"),
    "ordered": ("TEXT", 'TEXT COLLATE "C"'),
    "clustered": (" WITHOUT ROWID", ""),
}
# NULL equals nothing in a unique index, so rows without account have indexes of their own. Recency is never null,
# unlike last_message_at, so that both databases can begin a list anywhere in their index.
TABLES = """
CREATE TABLE contact (
    pk {serial} NOT NULL PRIMARY KEY, id {uuid} NOT NULL, account_id {uuid},
    phone_number TEXT CHECK (substr(phone_number, 1, 1) = '+' AND length(phone_number) BETWEEN 8 AND 16), bsuid TEXT,
    parent_bsuid TEXT, external_id TEXT, username TEXT, name TEXT, profile_name TEXT, avatar_url TEXT,
    assigned_to {uuid}, tags {json} NOT NULL, marketing_opt_out {boolean} NOT NULL, marketing_opt_out_at {time},
    marketing_opt_out_source TEXT CHECK (marketing_opt_out_source IN ('whatsapp', 'person', 'import')),
    metadata {json} NOT NULL,
    search_text TEXT NOT NULL, last_message_at {time},
    recency {time} NOT NULL GENERATED ALWAYS AS (COALESCE(last_message_at, '0001-01-01T00:00:00.000000Z')) STORED,
    last_message_key {ordered}, last_message_preview TEXT, last_inbound_at {time}, unread_count INTEGER NOT NULL,
    created_at {time} NOT NULL, updated_at {time} NOT NULL, version INTEGER NOT NULL,
    change_seq {bigint} NOT NULL DEFAULT 0, changed_by TEXT, on_behalf_of TEXT,
    CONSTRAINT contact_identified CHECK (phone_number IS NOT NULL OR bsuid IS NOT NULL)
);;
CREATE UNIQUE INDEX contact_id ON contact (id);;
CREATE INDEX contact_recent ON contact (recency DESC, created_at DESC, id);;
CREATE INDEX contact_account_recent ON contact (account_id, recency DESC, created_at DESC, id);;
CREATE INDEX contact_assigned_recent ON contact (assigned_to, recency DESC, created_at DESC, id);;
CREATE INDEX contact_created ON contact (created_at, id);;
CREATE INDEX contact_account_created ON contact (account_id, created_at, id);;
CREATE INDEX contact_inbound ON contact (COALESCE(last_inbound_at, '0001-01-01T00:00:00.000000Z'));;
CREATE INDEX contact_unread ON contact (COALESCE(CAST(account_id AS TEXT), 'none')) WHERE (unread_count > 0);;
CREATE INDEX contact_opted_out ON contact (COALESCE(CAST(account_id AS TEXT), 'none')) WHERE (marketing_opt_out);;
CREATE INDEX contact_username ON contact (username) WHERE (username IS NOT NULL);;
CREATE TABLE contact_identifier (
    account TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('phone_number', 'bsuid', 'parent_bsuid', 'external_id')), value TEXT NOT NULL,
    contact_id {bigint} NOT NULL, current {boolean} NOT NULL, said_at {time}, first_seen_at {time} NOT NULL,
    last_seen_at {time} NOT NULL, replaced_in {uuid},
    PRIMARY KEY (account, kind, value),
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE INDEX contact_identifier_contact_id ON contact_identifier (contact_id);;
CREATE TABLE contact_duplicate (
    contact_a_id {bigint} NOT NULL, contact_b_id {bigint} NOT NULL,
    reason TEXT NOT NULL CHECK (reason IN ('identity_conflict', 'phone_variant')), seen_at {time} NOT NULL,
    dismissed {boolean} NOT NULL,
    PRIMARY KEY (contact_a_id, contact_b_id, reason),
    FOREIGN KEY (contact_a_id) REFERENCES contact (pk) ON DELETE CASCADE,
    FOREIGN KEY (contact_b_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE INDEX contact_duplicate_contact_b_id ON contact_duplicate (contact_b_id);;
CREATE TABLE contact_merge (
    source_id {uuid} NOT NULL PRIMARY KEY, merged_into {uuid} NOT NULL, survivor_id {bigint} NOT NULL,
    at {time} NOT NULL, actor TEXT, messages INTEGER NOT NULL, sessions INTEGER NOT NULL,
    unread_count INTEGER NOT NULL, survivor_consent TEXT NOT NULL, source_consent TEXT NOT NULL, snapshot {json},
    FOREIGN KEY (survivor_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE INDEX contact_merge_survivor_id ON contact_merge (survivor_id, at DESC);;
CREATE INDEX contact_merge_snapshot ON contact_merge (at) WHERE (snapshot IS NOT NULL);;
CREATE TABLE contact_tag (
    contact_id {bigint} NOT NULL, tag TEXT NOT NULL,
    PRIMARY KEY (contact_id, tag),
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE INDEX contact_tag_tag ON contact_tag (tag, contact_id);;
CREATE TABLE contact_metadata (
    term {bigint} NOT NULL, contact_id {bigint} NOT NULL,
    PRIMARY KEY (term, contact_id),
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
){clustered};;
CREATE INDEX contact_metadata_contact_id ON contact_metadata (contact_id);;
CREATE TABLE contact_count (
    account TEXT NOT NULL, slot INTEGER NOT NULL, contacts {bigint} NOT NULL, unassigned {bigint} NOT NULL,
    PRIMARY KEY (account, slot)
);;
CREATE TABLE flow (
    pk {serial} NOT NULL PRIMARY KEY, id {uuid} NOT NULL, account_id {uuid}, name TEXT NOT NULL,
    panel_config {json} NOT NULL, created_at {time} NOT NULL, updated_at {time} NOT NULL, version INTEGER NOT NULL
);;
CREATE UNIQUE INDEX flow_id_account ON flow (id, account_id) WHERE (account_id IS NOT NULL);;
CREATE UNIQUE INDEX flow_id ON flow (id) WHERE (account_id IS NULL);;
CREATE INDEX flow_created ON flow (created_at DESC, pk DESC);;
CREATE INDEX flow_account_created ON flow (account_id, created_at DESC, pk DESC);;
CREATE TABLE session (
    pk {serial} NOT NULL PRIMARY KEY, id {uuid} NOT NULL, contact_id {bigint} NOT NULL, flow_id {uuid},
    status TEXT NOT NULL CHECK (status IN ('active', 'completed', 'cancelled', 'timeout')),
    session_data {json} NOT NULL, created_at {time} NOT NULL, updated_at {time} NOT NULL, merged_from {uuid},
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE UNIQUE INDEX session_contact_id ON session (contact_id, id);;
CREATE INDEX session_contact_created ON session (contact_id, created_at DESC, pk DESC);;
CREATE TABLE message (
    pk {serial} NOT NULL PRIMARY KEY, id {uuid} NOT NULL, contact_id {bigint} NOT NULL, account_id {uuid},
    wa_message_id TEXT, direction TEXT NOT NULL CHECK (direction IN ('incoming', 'outgoing')), type TEXT NOT NULL,
    content {json} NOT NULL, history {boolean} NOT NULL,
    status TEXT CHECK (status IN ('pending', 'sent', 'delivered', 'failed', 'read')), status_at {time}, error {json},
    timestamp {time} NOT NULL, key {ordered} NOT NULL, created_at {time} NOT NULL, merged_from {uuid},
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE UNIQUE INDEX message_id ON message (id);;
CREATE INDEX message_contact_history ON message (contact_id, timestamp, key);;
CREATE UNIQUE INDEX message_account_wa ON message (account_id, wa_message_id) WHERE (account_id IS NOT NULL);;
CREATE UNIQUE INDEX message_wa ON message (wa_message_id) WHERE (account_id IS NULL);;
CREATE TABLE early_status (
    key TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL CHECK (status IN ('pending', 'sent', 'delivered', 'failed', 'read')),
    status_at {time} NOT NULL, error {json}, created_at {time} NOT NULL
);;
CREATE INDEX early_status_created ON early_status (created_at);;
CREATE TABLE api_key (
    prefix TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, secret_hash TEXT NOT NULL, scopes {json} NOT NULL,
    accounts {json}, created_at {time} NOT NULL, expires_at {time}, revoked_at {time}
);;
CREATE TABLE stored_response (
    key TEXT NOT NULL PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, headers {json} NOT NULL, body TEXT,
    contact_id {uuid}, created_at {time} NOT NULL
);;
CREATE INDEX stored_response_created ON stored_response (created_at);;
CREATE INDEX stored_response_contact ON stored_response (contact_id)
"""

# The search index holds a gram for each place in a word: the first characters from there on. See
# docs/decisions/search-index.md.
#
# FTS5 without positions, over a view. The no-break space in front of an account's id occurs in no search text, which
# went through NFKC. All ASCII characters but whitespace belong to words, and so do all others. What inserts many
# contacts, see contact_created, inserts their grams too: within a trigger FTS5 writes to the file for each row.
SQLITE_SEARCH = """
CREATE VIEW contact_grams (pk, grams) AS
SELECT pk, char(160) || COALESCE(account_id, 'none') || ' ' || COALESCE((
    WITH RECURSIVE part (rest) AS (
        SELECT replace(search_text, char(10), ' ')
        UNION ALL
        SELECT substr(rest, 2) FROM part WHERE length(rest) > 1
    )
    SELECT group_concat(substr(rest, 1, min(12, instr(rest || ' ', ' ') - 1)), ' ') FROM part
    WHERE substr(rest, 1, 1) <> ' '
), '')
FROM contact;;
CREATE VIRTUAL TABLE contact_search USING fts5(
    grams, content='contact_grams', content_rowid='pk', detail=none, columnsize=0, prefix='1 2 3',
    tokenize="ascii tokenchars '[word characters]'"
);;
CREATE TRIGGER contact_search_insert AFTER INSERT ON contact WHEN (SELECT base FROM change_feed) >= 0 BEGIN
    INSERT INTO contact_search (rowid, grams) SELECT pk, grams FROM contact_grams WHERE pk = new.pk;
END;;
CREATE TRIGGER contact_search_delete BEFORE DELETE ON contact BEGIN
    INSERT INTO contact_search (contact_search, rowid, grams)
    SELECT 'delete', pk, grams FROM contact_grams WHERE pk = old.pk;
END;;
CREATE TRIGGER contact_search_before BEFORE UPDATE OF search_text ON contact
WHEN old.search_text <> new.search_text BEGIN
    INSERT INTO contact_search (contact_search, rowid, grams)
    SELECT 'delete', pk, grams FROM contact_grams WHERE pk = old.pk;
END;;
CREATE TRIGGER contact_search_after AFTER UPDATE OF search_text ON contact
WHEN old.search_text <> new.search_text BEGIN
    INSERT INTO contact_search (rowid, grams) SELECT pk, grams FROM contact_grams WHERE pk = new.pk;
END
"""
# A GIN index on a narrow copy: it stays in memory, and messages don't write to it. Grams of one and two characters are
# marked by a space, as they are looked up whole and all others by prefix. What waits to be merged into the index has
# 64 kB, the least there is, as searches read through it. Only the rows of one statement may be more, as merging them at
# once takes half the time; the last of them has all merged. The function costs about a thousand times a simple one;
# with less the planner takes a scan that computes the grams of every row for the cheaper plan.
POSTGRESQL_SEARCH = """
CREATE TABLE contact_search (
    contact_id BIGINT NOT NULL PRIMARY KEY,
    account_id UUID,
    search_text TEXT NOT NULL,
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
);;
CREATE FUNCTION contact_grams(searched text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    grams text[] := '{}';
    word text;
BEGIN
    FOREACH word IN ARRAY string_to_array(translate(searched, E'\\n', ' '), ' ') LOOP
        FOR place IN 1..length(word) LOOP
            grams := array_append(grams, substr(word, place, 6));  -- In place, unlike the concatenation of arrays.
            grams := array_append(grams, ' ' || substr(word, place, 1));
            grams := array_append(grams, ' ' || substr(word, place, 2));
        END LOOP;
    END LOOP;
    RETURN array_to_tsvector(grams);
END $$;;
CREATE INDEX contact_search_grams ON contact_search USING gin (contact_grams(search_text));;
CREATE FUNCTION contact_search_insert() RETURNS trigger LANGUAGE plpgsql SET gin_pending_list_limit = '4MB' AS $$
BEGIN
    INSERT INTO contact_search (contact_id, account_id, search_text)
    SELECT pk, account_id, search_text FROM inserted ORDER BY pk OFFSET 1;
    PERFORM set_config('gin_pending_list_limit', '64kB', true);
    INSERT INTO contact_search (contact_id, account_id, search_text)
    SELECT pk, account_id, search_text FROM inserted ORDER BY pk LIMIT 1;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_search_insert AFTER INSERT ON contact REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION contact_search_insert();;
CREATE FUNCTION contact_search_update() RETURNS trigger LANGUAGE plpgsql SET gin_pending_list_limit = '64kB' AS $$
BEGIN
    UPDATE contact_search SET search_text = NEW.search_text WHERE contact_id = NEW.pk;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_search_update AFTER UPDATE OF search_text ON contact FOR EACH ROW
WHEN (OLD.search_text <> NEW.search_text) EXECUTE FUNCTION contact_search_update()
"""

# How many contacts each account has, and how many of them are assigned to no one: counting a million rows for each page
# of a list takes long. Contacts of no account count as 'none'. An account never changes.
SQLITE_COUNT = """
CREATE TRIGGER contact_count_insert AFTER INSERT ON contact WHEN (SELECT base FROM change_feed) >= 0 BEGIN
    INSERT INTO contact_count (account, slot, contacts, unassigned)
    VALUES (COALESCE(new.account_id, 'none'), 0, 1, new.assigned_to IS NULL)
    ON CONFLICT (account, slot) DO UPDATE SET
        contacts = contacts + 1, unassigned = unassigned + excluded.unassigned;
END;;
CREATE TRIGGER contact_count_delete AFTER DELETE ON contact BEGIN
    UPDATE contact_count SET contacts = contacts - 1, unassigned = unassigned - (old.assigned_to IS NULL)
    WHERE account = COALESCE(old.account_id, 'none') AND slot = 0;
END;;
CREATE TRIGGER contact_count_update AFTER UPDATE OF assigned_to ON contact
WHEN (old.assigned_to IS NULL) <> (new.assigned_to IS NULL) BEGIN
    UPDATE contact_count SET unassigned = unassigned + (new.assigned_to IS NULL) - (old.assigned_to IS NULL)
    WHERE account = COALESCE(new.account_id, 'none') AND slot = 0;
END
"""
# Transactions of different connections mostly write to different slots, so that they don't wait for one another. They
# do so at their end, so that none waits for another one's identifiers while it holds a slot. Only triggers of rows can
# be deferred, so a setting of the transaction has what its statements created, which the first row writes.
POSTGRESQL_COUNT = """
CREATE FUNCTION contact_count_created() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('contacts.created', concat_ws(E'\\n', NULLIF(current_setting('contacts.created', true), ''),
        string_agg(concat_ws(' ', account, contacts, unassigned), E'\\n')), true)
    FROM (
        SELECT COALESCE(account_id::text, 'none') AS account, count(*) AS contacts,
            count(*) - count(assigned_to) AS unassigned
        FROM inserted GROUP BY account_id
    ) AS counted;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_count_created AFTER INSERT ON contact REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION contact_count_created();;
CREATE FUNCTION contact_count_insert() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    created text := current_setting('contacts.created', true);
BEGIN
    IF created <> '' THEN
        PERFORM set_config('contacts.created', '', true);
        INSERT INTO contact_count AS before (account, slot, contacts, unassigned)
        SELECT split_part(line, ' ', 1), mod(pg_backend_pid(), 16), sum(split_part(line, ' ', 2)::bigint),
            sum(split_part(line, ' ', 3)::bigint)
        FROM string_to_table(created, E'\\n') AS line GROUP BY 1 ORDER BY 1
        ON CONFLICT (account, slot) DO UPDATE SET
            contacts = before.contacts + EXCLUDED.contacts, unassigned = before.unassigned + EXCLUDED.unassigned;
    END IF;
    RETURN NULL;
END $$;;
CREATE CONSTRAINT TRIGGER contact_count_insert AFTER INSERT ON contact DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION contact_count_insert();;
CREATE FUNCTION contact_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted contact := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    new_contacts integer := -(TG_OP = 'DELETE')::integer;
    new_unassigned integer := (TG_OP <> 'DELETE' AND NEW.assigned_to IS NULL)::integer
        - (OLD.assigned_to IS NULL)::integer;
BEGIN
    INSERT INTO contact_count AS before (account, slot, contacts, unassigned)
    VALUES (COALESCE(counted.account_id::text, 'none'), mod(pg_backend_pid(), 16), new_contacts, new_unassigned)
    ON CONFLICT (account, slot) DO UPDATE SET
        contacts = before.contacts + new_contacts, unassigned = before.unassigned + new_unassigned;
    RETURN NULL;
END $$;;
CREATE CONSTRAINT TRIGGER contact_count_delete AFTER DELETE ON contact DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION contact_counted();;
CREATE CONSTRAINT TRIGGER contact_count_update AFTER UPDATE OF assigned_to ON contact DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ((OLD.assigned_to IS NULL) <> (NEW.assigned_to IS NULL)) EXECUTE FUNCTION contact_counted()
"""


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    if db.kind == "sqlite":
        # Letters and digits are characters of words anyway; quotes are doubled within quotes, of either kind.
        printable = map(chr, [*range(1, 9), *range(14, 28), *range(33, 128)])
        others = "".join(character for character in printable if not character.isalnum())
        word_characters = others.replace("'", "''").replace('"', '""')
        search = SQLITE_SEARCH.replace("[word characters]", word_characters)
        scripts = (search, SQLITE_COUNT)
    else:
        scripts = (POSTGRESQL_SEARCH, POSTGRESQL_COUNT)
    types = {name: each[db.kind == "postgresql"] for name, each in TYPES.items()}
    change_tables, change_triggers = change_scripts(db.kind)
    for script in (TABLES.format(**types), *scripts, change_tables.format(**types), change_triggers):
        for statement in script.split(";;"):
            db.execute_sql(statement)
    db.execute_sql(f"INSERT INTO change_feed VALUES ('{secrets.token_hex(8)}', 0, 0)")  # nosec B608
