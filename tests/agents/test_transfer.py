"""The evaluation of controllers takes the files that were settled on, and no others."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest

from nb201_env import NB201Error, open_table
from nb201_env.space.isomorphism import representatives

pytest.importorskip("scipy")

TRANSFER = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "transfer.py"))


def test_a_protocol_without_controllers_allows_nothing():
    with pytest.raises(NB201Error, match="names no controller yet"):
        TRANSFER["settled"]("| file | SHA-256 |\n| --- | --- |\n")


def test_only_files_of_the_settled_hashes_are_taken(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    hashes = {"a.safetensors": hashlib.sha256(b"weights").hexdigest()}
    document = f"| file | SHA-256 |\n| --- | --- |\n| a.safetensors | {hashes['a.safetensors']} |\n"
    assert TRANSFER["settled"](document) == hashes
    assert TRANSFER["checked"](tmp_path, hashes) == [tmp_path / "a.safetensors"]
    (tmp_path / "a.safetensors").write_bytes(b"other weights")
    with pytest.raises(NB201Error, match=r"a\.safetensors is not the controller of the protocol: its SHA-256 is"):
        TRANSFER["checked"](tmp_path, hashes)
    with pytest.raises(NB201Error, match=r"b\.safetensors is missing"):
        TRANSFER["checked"](tmp_path, {"b.safetensors": "0" * 64})


def test_tables_cost_what_training_every_cell_took(tmp_path):
    path = tmp_path / "c.safetensors"
    path.with_name("c.safetensors.json").write_text('{"seconds": 12.5}')
    assert TRANSFER["cost_of_training"](path) == 12.5
    mini = open_table("mini")
    trained = np.unique(representatives("exact"))
    seconds = [mini.train_seconds(name)[trained].sum() * len(mini.trials(name)) for name in mini.datasets]
    assert TRANSFER["cost_of_tables"](mini) == pytest.approx(sum(seconds))
