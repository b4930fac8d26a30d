import os

# Two workers of pytest, and what they start, have a core each: more threads only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest

from nb201_env import NUM_CELLS, Table, open_table
from nb201_env.tables.writer import TableWriter

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def published() -> Table:
    return open_table("published")


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("the real benchmark values are not beside this checkout")
    return REAL_DATA


@pytest.fixture(scope="session")
def synthetic_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small invented table with what `published` lacks: curves, losses, three splits, measured passes."""
    path = tmp_path_factory.mktemp("tables") / "synthetic.zarr"
    rng = np.random.default_rng(0)
    epochs, trials = 4, 2
    with TableWriter(path, "synthetic") as writer:
        writer.add_dataset("toy", num_classes=7, image_size=8, latency=rng.random(NUM_CELLS))
        for recipe, length in (("short", 2), ("long", epochs)):
            seconds = 1 + rng.random((1, length, NUM_CELLS))
            writer.add_training("toy", recipe, "full", epochs=length, images=500, epoch_seconds=seconds)
            for split, images in (("train", 500), ("valid", 100), ("test", 200)):
                correct = rng.integers(0, images + 1, (trials, length, NUM_CELLS))
                if split == "test":
                    correct[1, :, 7] = -1
                writer.add_split(
                    "toy",
                    recipe,
                    "full",
                    split,
                    images=images,
                    epochs=range(1, length + 1),
                    trial_seeds=(777, 888),
                    correct=correct,
                    loss=rng.random((trials, length, NUM_CELLS)),
                    eval_seconds=np.full(NUM_CELLS, images / 1000),
                )
    return path


@pytest.fixture(scope="session")
def synthetic(synthetic_path: Path) -> Table:
    return open_table(synthetic_path)
