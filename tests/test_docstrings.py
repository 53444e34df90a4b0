"""The examples in docstrings are correct."""

import doctest
import importlib
import pkgutil

import pytest

import contacts_service
import schemas

MODULES = [
    module.name
    for package in (contacts_service, schemas)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if ".migrations.0" not in module.name
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
