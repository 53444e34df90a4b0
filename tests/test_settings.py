"""Settings: read from the environment, with a clear error for invalid values."""

import os
import subprocess
import sys

import pytest
from helpers.service import ROOT

from contacts_service.settings import InvalidSetting, Settings


def test_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"PORT": "", "DATABASE_URL": ""}) == Settings()


def test_every_setting_is_read_from_its_variable() -> None:
    environment = {
        "DATABASE_URL": "postgresql://u:p@db/contacts",
        "CONTACTS_DATABASE_TIMEOUT": "2.5",
        "CONTACTS_HOST": "127.0.0.2",
        "PORT": "9000",
        "WEB_CONCURRENCY": "3",
        "CONTACTS_THREADS": "5",
        "CONTACTS_IMPORT_LIMIT": "1000000",
        "CONTACTS_LOG_FORMAT": "json",
        "CONTACTS_REQUIRE_KEY": "1",
        "CONTACTS_FIRST_KEY": "0123456789abcdef" * 2,
    }
    assert Settings.from_environment(environment) == Settings(
        database_url="postgresql://u:p@db/contacts",
        database_timeout=2.5,
        host="127.0.0.2",
        port=9000,
        workers=3,
        threads=5,
        import_limit=1_000_000,
        log_format="json",
        require_key=True,
        first_key="0123456789abcdef" * 2,
    )


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///data/contacts.db", "data/contacts.db"),
        ("sqlite:////data/contacts.db", "/data/contacts.db"),
        ("postgresql://localhost/contacts", None),
    ],
)
def test_database_url_names_a_file_or_a_server(url: str, path: str | None) -> None:
    assert Settings(database_url=url).sqlite_path == path


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://localhost/contacts"),
        ("DATABASE_URL", "contacts.db"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "postgresql://contacts:se%zzcret@localhost/contacts"),
        ("DATABASE_URL", "postgresql://contacts:secret@localhost/contacts?sslmod=require"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "0"),
        ("CONTACTS_THREADS", "-1"),
        ("CONTACTS_IMPORT_LIMIT", "0"),
        ("CONTACTS_IMPORT_LIMIT", "1G"),
        ("CONTACTS_LOG_FORMAT", "xml"),
        ("CONTACTS_REQUIRE_KEY", "perhaps"),
        ("CONTACTS_DATABASE_TIMEOUT", "0"),
        ("CONTACTS_DATABASE_TIMEOUT", "soon"),
        ("CONTACTS_DATABASE_TIMEOUT", "nan"),
        ("CONTACTS_DATABASE_TIMEOUT", "inf"),
        ("CONTACTS_DATABASE_TIMEOUT", "0.0001"),
    ],
)
def test_invalid_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        Settings.from_environment({variable: value})


def test_error_of_another_setting_never_shows_the_password() -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings.from_environment({"DATABASE_URL": "postgresql://u:secret@db/contacts", "PORT": "-1"})
    assert "secret" not in str(refused.value)


@pytest.mark.processes
def test_service_does_not_start_with_an_invalid_setting() -> None:
    started = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=ROOT,
        env={**os.environ, "WEB_CONCURRENCY": "0"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert started.returncode != 0
    assert "WEB_CONCURRENCY, CONTACTS_THREADS and CONTACTS_IMPORT_LIMIT must be at least 1" in started.stderr


def test_error_of_the_database_url_never_shows_the_password() -> None:
    with pytest.raises(InvalidSetting) as refused:
        Settings(database_url="postgresql://contacts:se%zzcret@localhost/contacts")
    assert "DATABASE_URL" in str(refused.value)
    assert "se%zz" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
