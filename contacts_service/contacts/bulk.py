"""Use case of changing all contacts that filters choose."""

import time
from datetime import UTC, datetime
from typing import Any

from peewee import Case

from contacts_service.contacts.consent import CONSENT, with_consent
from contacts_service.contacts.filters import make_filters
from contacts_service.contacts.list_planning import read_keys
from contacts_service.contacts.queries import change_columns
from contacts_service.contacts.tables import Contact, ContactTag
from contacts_service.contacts.writes import changed_tags
from contacts_service.db.caller import AllowedAccounts
from contacts_service.db.database import database, reading, writing
from contacts_service.db.fields import JSONText
from contacts_service.db.prepared import Row, columns_of, prepared
from contacts_service.errors import InvalidRequest, TotalChanged
from schemas.constants import MAX_TAGS

_MAX_FIXED = 100_000  # How many contacts are chosen before the first is changed.
_BATCH = 500
_PAUSE = 0.25  # Of the time that a batch took: on SQLite other processes look for the write lock now and then.


def change_contacts(  # noqa: PLR0913 - The fields of the body.
    filters: dict[str, Any],
    *,
    allowed_accounts: AllowedAccounts,
    expected_total: int,
    changes: dict[str, Any],
    add_tags: list[str],
    remove_tags: list[str],
) -> dict[str, int]:
    """Change ``assigned_to`` or ``marketing_opt_out``, and add and remove tags, of what ContactFilters choose.

    Returns how many contacts matched and how many of them changed. Which contacts is decided first, by up to 100,000,
    then batches are changed in transactions of their own. Within a transaction, for which others wait, there can be no
    more than these. Raises TotalChanged or InvalidRequest before anything is written; AccountForbidden.
    """
    with reading():
        chosen = make_filters(allowed_accounts, **filters)
        total, keys = read_keys(chosen, 0, _MAX_FIXED)
    if total != expected_total:
        raise TotalChanged(errors={"total": [str(total)]})
    if database.in_transaction() and total > _MAX_FIXED:
        raise InvalidRequest({"expected_total": [f"At most {_MAX_FIXED} with an Idempotency-Key."]})
    matched = changed = 0
    while keys:
        batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
        if add_tags:
            with reading():
                for batch in batches:
                    database.restart_timeout()
                    for row in _list_tags(batch):
                        try:
                            changed_tags(row["tags"], add_tags, remove_tags)
                        except InvalidRequest as error:
                            text = f"The contact {row['id']} would have more than {MAX_TAGS} tags."
                            raise InvalidRequest({"add_tags": [text]}) from error
        for batch in batches:
            began = time.monotonic()
            with writing():
                database.restart_timeout()
                changed += _change_batch(batch, changes, add_tags, remove_tags)
            if not database.in_transaction():
                time.sleep((time.monotonic() - began) * _PAUSE)
        matched += len(keys)
        with reading():
            keys = read_keys(chosen, keys[-1], min(_MAX_FIXED, total - matched))[1] if matched < total else []
    return {"matched": matched, "changed": changed}


def _change_batch(keys: list[int], changes: dict[str, Any], add_tags: list[str], remove_tags: list[str]) -> int:
    """Change the contacts that aren't as they shall be. Returns how many."""
    tags: list[tuple[int, JSONText]] = []
    added: list[tuple[int, str]] = []
    differing: dict[bool, list[int]] = {True: [], False: []}  # By whether the word on marketing counts for them.
    others = {name: value for name, value in changes.items() if name not in CONSENT}
    all_changes: Row = {}
    rows = _lock(keys)
    now = datetime.now(UTC)
    for row in rows:
        after = changed_tags(row["tags"], add_tags, remove_tags)
        if after is not None:
            tags.append((row["pk"], JSONText.of(after)))
            before = row["tags"].parsed()
            added += [(row["pk"], tag) for tag in after if tag not in before]
        counting = with_consent(row, changes, "person", now=now, is_batch=True)
        if has_word := "marketing_opt_out" in counting:
            all_changes = counting
        if after is not None or has_word or any(row[name] != value for name, value in others.items()):
            differing[has_word].append(row["pk"])
    filled = [*tags, *[(0, JSONText.of([]))] * (_BATCH - len(tags))] if tags else None
    for has_word, each in differing.items():
        if each:
            missing = _BATCH - len(each)  # Filled up, so that the query is built once.
            _update([*each, *[0] * missing], filled, all_changes if has_word else others, now)
    changed = differing[True] + differing[False]
    if remove_tags and changed:
        ContactTag.delete().where(ContactTag.contact.in_(changed), ContactTag.tag.in_(remove_tags)).execute()
    database.insert_rows("contact_tag", ("contact_id", "tag"), added)
    return len(changed)


@prepared
def _list_tags(keys: list[Any]) -> Any:
    return Contact.select(Contact.id, Contact.tags).where(Contact.pk.in_(keys))


@prepared
def _lock(keys: list[Any]) -> Any:
    columns = (Contact.pk, Contact.tags, Contact.assigned_to, *[getattr(Contact, name) for name in CONSENT])
    return database.locked(Contact.select(*columns).where(Contact.pk.in_(keys)).order_by(Contact.pk))


@prepared
def _update(keys: list[Any], tags: Any, changes: Row, now: Any) -> Any:
    values = columns_of(Contact, changes)
    if tags is not None:
        values["tags"] = Case(Contact.pk, [(key, value.of(Contact.tags)) for key, value in tags], Contact.tags)
    updated_at = Case(None, [(Contact.updated_at > now, Contact.updated_at)], now.of(Contact.updated_at))
    values |= {"updated_at": updated_at, "version": Contact.version + 1, **change_columns()}
    return Contact.update(values).where(Contact.pk.in_(keys))
