"""The table of the documentation is what the tests found."""

import csv
import shutil

import pytest

from tests.ecosystem import test_gymnasium, test_loops, test_stable_baselines3
from tests.ecosystem.cells import FORMS, IDS
from tests.matrix import TABLE, write_table

ALWAYS_HERE = (test_gymnasium, test_loops, test_stable_baselines3)


@pytest.fixture(scope="module")
def table():
    with TABLE.open(newline="") as file:
        return {(row["library"], row["env"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    "cell", [cell for module in ALWAYS_HERE for cell in module.CELLS], ids=lambda c: c.library
)
def test_it_says_how_each_cell_works(cell, table):
    assert {table[cell.library, env_id][cell.form] for env_id in IDS} == {cell.way}


def test_it_is_complete(table):
    libraries = {library for library, _ in table}
    assert {"Minari", "RLlib", "TorchRL"} < libraries
    assert set(table) == {(library, env_id) for library in libraries for env_id in IDS}
    assert all(row[form] for row in table.values() for form in FORMS)


def test_what_was_not_tried_stands_as_it_did(table, tmp_path):
    path = tmp_path / "table.csv"
    shutil.copy(TABLE, path)
    cells = tmp_path / "cells"
    cells.mkdir()
    for env_id in IDS:
        (cells / f"Gymnasium--{env_id}--single").write_text("with luck")
    write_table(path, cells)
    with path.open(newline="") as file:
        written = {(row["library"], row["env"]): row for row in csv.DictReader(file)}
    tried = {"single": "with luck", "vector": "not", "masked": "not"}
    assert written == {
        key: row | tried if key[0] == "Gymnasium" else row for key, row in table.items()
    }
    assert list(written) == list(table)
