"""How many contacts of an account a user looks after, and how many nobody, kept by triggers as in step 0004."""

from peewee import BigIntegerField, CompositeKey, IntegerField, TextField

SQLITE_COUNT = """
CREATE TRIGGER assigned_count_insert AFTER INSERT ON contact BEGIN
    INSERT INTO assigned_count (assigned_to, account, slot, contacts)
    VALUES (COALESCE(new.assigned_to, 'none'), COALESCE(new.account_id, 'none'), 0, 1)
    ON CONFLICT (assigned_to, account, slot) DO UPDATE SET contacts = contacts + 1;
END;;
CREATE TRIGGER assigned_count_delete AFTER DELETE ON contact BEGIN
    UPDATE assigned_count SET contacts = contacts - 1
    WHERE assigned_to = COALESCE(old.assigned_to, 'none') AND account = COALESCE(old.account_id, 'none') AND slot = 0;
END;;
CREATE TRIGGER assigned_count_update AFTER UPDATE OF assigned_to ON contact
WHEN old.assigned_to IS NOT new.assigned_to BEGIN
    UPDATE assigned_count SET contacts = contacts - 1
    WHERE assigned_to = COALESCE(old.assigned_to, 'none') AND account = COALESCE(old.account_id, 'none') AND slot = 0;
    INSERT INTO assigned_count (assigned_to, account, slot, contacts)
    VALUES (COALESCE(new.assigned_to, 'none'), COALESCE(new.account_id, 'none'), 0, 1)
    ON CONFLICT (assigned_to, account, slot) DO UPDATE SET contacts = contacts + 1;
END
"""
# Two transactions of the same slot that pass contacts to and fro take the two rows in the same order, or each would
# wait for the other.
POSTGRESQL_COUNT = """
CREATE FUNCTION contact_assigned() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT assigned, account, step FROM (VALUES
            (COALESCE(OLD.assigned_to::text, 'none'), COALESCE(OLD.account_id::text, 'none'), -1, TG_OP <> 'INSERT'),
            (COALESCE(NEW.assigned_to::text, 'none'), COALESCE(NEW.account_id::text, 'none'), 1, TG_OP <> 'DELETE')
        ) AS changes (assigned, account, step, happened)
        WHERE happened ORDER BY assigned
    LOOP
        INSERT INTO assigned_count AS before (assigned_to, account, slot, contacts)
        VALUES (change.assigned, change.account, mod(pg_backend_pid(), 16), change.step)
        ON CONFLICT (assigned_to, account, slot) DO UPDATE SET contacts = before.contacts + change.step;
    END LOOP;
    RETURN NULL;
END $$;;
CREATE TRIGGER assigned_count AFTER INSERT OR DELETE ON contact FOR EACH ROW EXECUTE FUNCTION contact_assigned();;
CREATE TRIGGER assigned_count_update AFTER UPDATE OF assigned_to ON contact FOR EACH ROW
WHEN (OLD.assigned_to IS DISTINCT FROM NEW.assigned_to) EXECUTE FUNCTION contact_assigned()
"""
COUNTED = """
INSERT INTO assigned_count (assigned_to, account, slot, contacts)
SELECT COALESCE(CAST(assigned_to AS text), 'none'), COALESCE(CAST(account_id AS text), 'none'), 0, COUNT(*)
FROM contact GROUP BY assigned_to, account_id
"""


def up(migrator, db):  # noqa: ANN001, ANN201, ARG001
    class AssignedCount(db.Model):
        assigned_to = TextField()
        account = TextField()
        slot = IntegerField()
        contacts = BigIntegerField()

        class Meta:
            table_name = "assigned_count"
            primary_key = CompositeKey("assigned_to", "account", "slot")

    db.create_tables([AssignedCount])
    if db.kind == "postgresql":
        # Nobody creates or assigns a contact between the count and the triggers.
        db.execute_sql("LOCK TABLE contact IN SHARE ROW EXCLUSIVE MODE")
    db.execute_sql(COUNTED)
    for statement in (SQLITE_COUNT if db.kind == "sqlite" else POSTGRESQL_COUNT).split(";;"):
        db.execute_sql(statement)
