"""CleanRL's way of writing PPO, trained for real on the published table."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

EXAMPLE = Path(__file__).parents[2] / "examples" / "cleanrl_ppo.py"


def test_ppo_learns(bar):
    module = runpy.run_path(str(EXAMPLE))
    accuracies = module["train"](module["Args"](num_cells=2_000))
    assert len(accuracies) >= 2_000
    assert np.mean(accuracies[-200:]) > bar
