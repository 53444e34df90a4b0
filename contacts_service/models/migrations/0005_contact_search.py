"""A search index of grams: what begins at each place of a word, so that any part of a word is the beginning of some.

Trigrams, which it replaces, find nothing for one or two characters, and read a long list for each part of a name.
"""

from peewee import BigIntegerField, ForeignKeyField, TextField

from contacts_service.models.fields import IdField

# The whitespace in front of an account's id is none that a search text has: it went through NFKC, which knows U+00A0
# as a space. All ASCII characters but whitespace belong to words, and so do all others.
SQLITE_GRAMS = """
DROP TABLE contact_search;;
DROP TRIGGER contact_search_insert;;
DROP TRIGGER contact_search_delete;;
DROP TRIGGER contact_search_update;;
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
    tokenize="ascii tokenchars '{word_characters}'"
);;
INSERT INTO contact_search (contact_search) VALUES ('rebuild');;
CREATE TRIGGER contact_search_insert AFTER INSERT ON contact BEGIN
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
# Grams of one and two characters are marked by a space, as they are looked up whole and all others by their beginning.
# A table apart is small enough to stay in memory, and an index on it isn't written to with each message. What is new
# goes to its place at once: searches would read through what waits, and one create in many would put it all away.
POSTGRESQL_GRAMS = """
DROP INDEX contact_search_text;;
CREATE FUNCTION contact_grams(searched text) RETURNS tsvector LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT array_to_tsvector(array_agg(
        CASE WHEN size > 2 THEN substr(word, place, 6) ELSE ' ' || substr(word, place, size) END
    ))
    FROM string_to_table(replace(searched, E'\\n', ' '), ' ') AS word,
        generate_series(1, length(word)) AS place, generate_series(1, 3) AS size
$$;;
INSERT INTO contact_search (contact_id, account_id, search_text) SELECT pk, account_id, search_text FROM contact;;
CREATE INDEX contact_search_grams ON contact_search USING gin (contact_grams(search_text))
WITH (fastupdate = off);;
CREATE FUNCTION contact_searched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO contact_search (contact_id, account_id, search_text) VALUES (NEW.pk, NEW.account_id, NEW.search_text)
    ON CONFLICT (contact_id) DO UPDATE SET search_text = NEW.search_text;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_search_insert AFTER INSERT ON contact FOR EACH ROW EXECUTE FUNCTION contact_searched();;
CREATE TRIGGER contact_search_update AFTER UPDATE OF search_text ON contact FOR EACH ROW
WHEN (OLD.search_text <> NEW.search_text) EXECUTE FUNCTION contact_searched()
"""


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    if db.kind == "sqlite":
        # Letters and digits are characters of words anyway; quotes are doubled within quotes, of either kind.
        ascii_without_whitespace = map(chr, [*range(1, 9), *range(14, 28), *range(33, 128)])
        others = "".join(character for character in ascii_without_whitespace if not character.isalnum())
        word_characters = others.replace("'", "''").replace('"', '""')
        for statement in SQLITE_GRAMS.replace("{word_characters}", word_characters).split(";;"):
            db.execute_sql(statement)
        return

    class Contact(db.Model):
        pk = BigIntegerField(primary_key=True)

        class Meta:
            table_name = "contact"

    class ContactSearch(db.Model):
        contact = ForeignKeyField(Contact, on_delete="CASCADE", primary_key=True)
        account_id = IdField(null=True)
        search_text = TextField()

        class Meta:
            table_name = "contact_search"

    # Dropping an index needs this lock. Whoever takes a lesser one first waits for writers that wait for him.
    db.execute_sql("LOCK TABLE contact IN ACCESS EXCLUSIVE MODE")
    db.create_tables([ContactSearch])
    db.execute_sql("SET LOCAL maintenance_work_mem = '256MB'")
    for statement in POSTGRESQL_GRAMS.split(";;"):
        db.execute_sql(statement)
