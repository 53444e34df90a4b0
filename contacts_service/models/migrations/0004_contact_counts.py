"""How many contacts each account has, kept by triggers: counting a million rows for each page of a list takes long."""

from peewee import BigIntegerField, CompositeKey, IntegerField, TextField

# The word that stands for the contacts of no account is no UUID.
SQLITE_COUNT = """
CREATE TRIGGER contact_count_insert AFTER INSERT ON contact BEGIN
    INSERT INTO contact_count (account, slot, contacts) VALUES (COALESCE(new.account_id, 'none'), 0, 1)
    ON CONFLICT (account, slot) DO UPDATE SET contacts = contacts + 1;
END;;
CREATE TRIGGER contact_count_delete AFTER DELETE ON contact BEGIN
    INSERT INTO contact_count (account, slot, contacts) VALUES (COALESCE(old.account_id, 'none'), 0, -1)
    ON CONFLICT (account, slot) DO UPDATE SET contacts = contacts - 1;
END
"""
# Transactions of different connections mostly write to different slots, so they don't wait for one another.
POSTGRESQL_COUNT = """
CREATE FUNCTION contact_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted contact;
    change integer := 1;
BEGIN
    IF TG_OP = 'DELETE' THEN
        counted := OLD;
        change := -1;
    ELSE
        counted := NEW;
    END IF;
    INSERT INTO contact_count AS before (account, slot, contacts)
    VALUES (COALESCE(counted.account_id::text, 'none'), mod(pg_backend_pid(), 16), change)
    ON CONFLICT (account, slot) DO UPDATE SET contacts = before.contacts + change;
    RETURN NULL;
END $$;;
CREATE TRIGGER contact_count AFTER INSERT OR DELETE ON contact FOR EACH ROW EXECUTE FUNCTION contact_counted()
"""
COUNTED = {
    "sqlite": """
INSERT INTO contact_count (account, slot, contacts)
SELECT COALESCE(account_id, 'none'), 0, COUNT(*) FROM contact GROUP BY account_id
""",
    "postgresql": """
INSERT INTO contact_count (account, slot, contacts)
SELECT COALESCE(account_id::text, 'none'), 0, COUNT(*) FROM contact GROUP BY account_id
""",
}


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class ContactCount(db.Model):
        account = TextField()
        slot = IntegerField()
        contacts = BigIntegerField()

        class Meta:
            table_name = "contact_count"
            primary_key = CompositeKey("account", "slot")

    db.create_tables([ContactCount])
    if db.kind == "postgresql":
        # Nobody creates a contact between the count and the trigger.
        db.execute_sql("LOCK TABLE contact IN SHARE ROW EXCLUSIVE MODE")
    db.execute_sql(COUNTED[db.kind])
    for statement in (SQLITE_COUNT if db.kind == "sqlite" else POSTGRESQL_COUNT).split(";;"):
        db.execute_sql(statement)
