"""The part of the initial migration that tracks changes of contacts: the change feed and events.

Triggers do it, so that no write path can forget it. See docs/decisions/change-feed.md.
"""

# A contact's change_seq orders the feed. On PostgreSQL it is the id of the transaction of its last change, plus base; a
# reader is shown what is below the oldest transaction that is still open. On SQLite base is the last number given. The
# statements of the service set it, which is cheaper; triggers do so for all others. What inserts many contacts at once
# replaces base by -1 - base, numbers the contacts itself, and sets base to the last number: contact_created then does
# for all of them what would take three times as long row by row.
# Events are numbered by the version that the change made.
TABLES = """
CREATE TABLE change_feed (generation TEXT NOT NULL PRIMARY KEY, base {bigint} NOT NULL, horizon {bigint} NOT NULL);;
CREATE INDEX contact_change ON contact (change_seq, pk);;
CREATE INDEX contact_account_change ON contact (account_id, change_seq, pk);;
CREATE TABLE contact_tombstone (
    id {uuid} NOT NULL PRIMARY KEY, pk {bigint} NOT NULL, account_id {uuid},
    change_seq {bigint} NOT NULL, ended_at {time} NOT NULL
);;
CREATE INDEX contact_tombstone_change ON contact_tombstone (change_seq, pk);;
CREATE INDEX contact_tombstone_account_change ON contact_tombstone (account_id, change_seq, pk);;
CREATE TABLE contact_event (
    contact_id {bigint} NOT NULL, version INTEGER NOT NULL, at {time} NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('created', 'updated', 'assigned', 'tagged', 'read', 'merged', 'unmerged')),
    fields {json} NOT NULL, actor TEXT, on_behalf_of TEXT,
    PRIMARY KEY (contact_id, version),
    FOREIGN KEY (contact_id) REFERENCES contact (pk) ON DELETE CASCADE
)
"""

_PLAIN = "{row}.{name}"
# What people and WhatsApp say of a contact, and how a column of the row new or old is compared.
_FIELDS = {
    **dict.fromkeys(("phone_number", "bsuid", "parent_bsuid", "external_id", "username", "name"), _PLAIN),
    **dict.fromkeys(("profile_name", "avatar_url", "account_id", "assigned_to"), _PLAIN),
    "tags": "COALESCE({row}.tags{text}, '[]')",
    "marketing_opt_out": "COALESCE({row}.marketing_opt_out, {false})",
    **dict.fromkeys(("marketing_opt_out_at", "marketing_opt_out_source"), _PLAIN),
    "metadata": "COALESCE({row}.metadata{text}, '{{}}')",
}
_KIND = """CASE {fields} WHEN '["assigned_to"]' THEN 'assigned' WHEN '["tags"]' THEN 'tagged'
    WHEN '["unread_count"]' THEN 'read' ELSE 'updated' END"""
_WAS_READ = "new.unread_count < old.unread_count"  # Messages raise it; only people lower it.


def _compared(row: str, **dialect: str) -> dict[str, str]:
    """The compared expression of each field, of a new or old row; without a row, of a contact that is yet to be."""
    if row:
        return {name: text.format(row=row, name=name, **dialect) for name, text in _FIELDS.items()}
    empty = {"tags": "'[]'", "marketing_opt_out": dialect["false"], "metadata": "'{}'"}
    return {name: empty.get(name, "NULL") for name in _FIELDS}


def _sqlite() -> str:
    new, old, contact, none = (_compared(row, text="", false="0") for row in ("new", "old", "contact", ""))

    def names(after: dict[str, str], before: dict[str, str], was_read: str) -> str:
        changed = {**{name: f"{after[name]} IS NOT {before[name]}" for name in _FIELDS}, "unread_count": was_read}
        listed = " || ".join(f"""iif({is_changed}, ',"{name}"', '')""" for name, is_changed in changed.items())
        return f"'[' || substr({listed}, 2) || ']'"

    def event(before: dict[str, str], kind: str, was_read: str, by_service: str) -> str:
        return f"""
    INSERT INTO contact_event (contact_id, version, at, kind, fields, actor, on_behalf_of)
    SELECT new.pk, new.version, new.updated_at, {kind}, fields, iif({by_service}, new.changed_by, NULL),
        iif({by_service}, new.on_behalf_of, NULL)
    FROM (SELECT {names(new, before, was_read)} AS fields LIMIT 1)  -- The limit has it computed once.
    WHERE fields <> '[]' ON CONFLICT DO NOTHING;"""  # nosec B608 - All names are our own.

    # An SQL statement from outside the service leaves the version, and must not get the actor of the change before.
    updated = event(old, _KIND.format(fields="fields"), _WAS_READ, "new.version <> old.version")
    return f"""
CREATE TRIGGER contact_change_insert AFTER INSERT ON contact WHEN (SELECT base FROM change_feed) >= 0 BEGIN
    UPDATE change_feed SET base = base + 1;
    UPDATE contact SET change_seq = (SELECT base FROM change_feed)
    WHERE pk = new.pk AND new.change_seq <> (SELECT base FROM change_feed);{event(none, "'created'", "0", "1")}
    DELETE FROM contact_tombstone WHERE id = new.id;
END;;
CREATE TRIGGER contact_created AFTER UPDATE OF base ON change_feed WHEN old.base < 0 AND new.base >= 0 BEGIN
    INSERT INTO contact_event (contact_id, version, at, kind, fields, actor, on_behalf_of)
    SELECT pk, version, updated_at, 'created', {names(contact, none, "0")}, changed_by, on_behalf_of
    FROM contact WHERE change_seq > -1 - old.base;
    INSERT INTO contact_count (account, slot, contacts, unassigned)
    SELECT COALESCE(account_id, 'none'), 0, count(*), count(*) - count(assigned_to)
    FROM contact WHERE change_seq > -1 - old.base GROUP BY +account_id  -- Or it would walk the index of all accounts.
    ON CONFLICT (account, slot) DO UPDATE SET
        contacts = contacts + excluded.contacts, unassigned = unassigned + excluded.unassigned;
END;;
CREATE TRIGGER contact_change_update AFTER UPDATE ON contact WHEN new.change_seq = old.change_seq BEGIN
    UPDATE contact SET change_seq = (SELECT base + 1 FROM change_feed) WHERE pk = new.pk;
END;;
CREATE TRIGGER contact_change_number AFTER UPDATE OF change_seq ON contact WHEN new.change_seq <> old.change_seq BEGIN
    UPDATE change_feed SET base = new.change_seq WHERE base < new.change_seq;
END;;
CREATE TRIGGER contact_event_update AFTER UPDATE OF {", ".join(_FIELDS)} ON contact BEGIN{updated}
END;;
CREATE TRIGGER contact_event_read AFTER UPDATE OF unread_count ON contact WHEN {_WAS_READ} BEGIN{updated}
END;;
CREATE TRIGGER contact_change_delete AFTER DELETE ON contact BEGIN
    UPDATE change_feed SET base = base + 1;
    INSERT INTO contact_tombstone (id, pk, account_id, change_seq, ended_at)
    SELECT old.id, old.pk, old.account_id, base, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now') FROM change_feed;
END
"""  # nosec B608 - The same.


def _postgresql() -> str:
    rows = ("NEW", "OLD", "inserted", "")
    new, old, inserted, none = (_compared(row, text="::text", false="false") for row in rows)

    def changed(after: dict[str, str], before: dict[str, str]) -> str:
        return ", ".join(
            f"CASE WHEN {after[name]} IS DISTINCT FROM {before[name]} THEN '{name}' END" for name in _FIELDS
        )

    # An SQL statement from outside the service leaves the version, and must not get the actor of the change before.
    by_service = "NEW.version IS DISTINCT FROM OLD.version"
    return f"""
CREATE FUNCTION contact_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT pg_current_xact_id()::text::bigint + base INTO NEW.change_seq FROM change_feed;
    RETURN NEW;
END $$;;
CREATE TRIGGER contact_change_insert BEFORE INSERT ON contact FOR EACH ROW EXECUTE FUNCTION contact_changed();;
CREATE TRIGGER contact_change_update BEFORE UPDATE ON contact FOR EACH ROW
WHEN (NEW.change_seq = OLD.change_seq) EXECUTE FUNCTION contact_changed();;
CREATE FUNCTION contact_created() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Undoing a merge brings a contact back. As an array, so that its few ids are looked up.
    DELETE FROM contact_tombstone WHERE id = ANY (ARRAY(SELECT id FROM inserted));
    INSERT INTO contact_event (contact_id, version, at, kind, fields, actor, on_behalf_of)
    SELECT pk, version, updated_at, 'created', to_json(array_remove(ARRAY[{changed(inserted, none)}], NULL)),
        changed_by, on_behalf_of
    FROM inserted ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_created AFTER INSERT ON contact REFERENCING NEW TABLE AS inserted
FOR EACH STATEMENT EXECUTE FUNCTION contact_created();;
CREATE FUNCTION contact_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed json := to_json(array_remove(ARRAY[
        {changed(new, old)},
        CASE WHEN {_WAS_READ} THEN 'unread_count' END
    ], NULL));
BEGIN
    IF json_array_length(changed) > 0 THEN
        INSERT INTO contact_event (contact_id, version, at, kind, fields, actor, on_behalf_of) VALUES (
            NEW.pk, NEW.version, NEW.updated_at, {_KIND.format(fields="changed::text")}, changed,
            CASE WHEN {by_service} THEN NEW.changed_by END, CASE WHEN {by_service} THEN NEW.on_behalf_of END
        ) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_event_update AFTER UPDATE OF {", ".join(_FIELDS)} ON contact
FOR EACH ROW EXECUTE FUNCTION contact_event();;
CREATE TRIGGER contact_event_read AFTER UPDATE OF unread_count ON contact
FOR EACH ROW WHEN ({_WAS_READ}) EXECUTE FUNCTION contact_event();;
CREATE FUNCTION contact_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO contact_tombstone (id, pk, account_id, change_seq, ended_at)
    SELECT OLD.id, OLD.pk, OLD.account_id, pg_current_xact_id()::text::bigint + base, clock_timestamp()
    FROM change_feed;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_deleted AFTER DELETE ON contact FOR EACH ROW EXECUTE FUNCTION contact_deleted()
"""  # nosec B608 - The same.


def scripts(kind: str) -> tuple[str, str]:
    """The tables, with their types in braces, and the triggers of this kind of database."""
    return TABLES, _sqlite() if kind == "sqlite" else _postgresql()
