"""Signals at random moments, and two processes that write the same thing."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from official_records import make_record, write_folder

from nb201_env import NB201Error, open_table
from nb201_env.files import locked, replacing

SIGNALS = int(os.environ.get("NB201_SIGNALS", "0"))
"""Rounds over all signals for each command; 0 for one signal and two jobs alone. `make test-hostile` does more."""

WRITERS = int(os.environ.get("NB201_WRITERS", "1"))
"""Rounds of two writers for each command."""

CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """What the commands read."""
    folder = tmp_path_factory.mktemp("work")
    write_folder(folder / "records", {index: make_record(index) for index in range(0, 600, 10)})
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 64), ("valid", 40), ("test", 40)):
        arrays[f"{split}_labels"] = np.arange(count) % 3
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 3, 8, 8)).astype(np.uint8)
    np.savez(folder / "colours.npz", **arrays)
    return folder


def commands(work, jobs):
    """Arguments of each long command but --out."""
    found = {
        "import": ["import", "nats", work / "records", "--jobs", jobs],
        "bench": ["bench", "--agents", "rea,reinforce", "--queries", 40, "--runs", 24, "--jobs", jobs],
    }
    if _has_torch():
        found["generate"] = ["generate", "--dataset", work / "colours.npz", "--cells", "100:200", "--epochs", 1,
                             "--jobs", jobs]  # fmt: skip
    return found


def _has_torch():
    import importlib.util

    return importlib.util.find_spec("torch") is not None


PRETRAIN = """
import sys
from pathlib import Path
from nb201_agents.controllers.ppo import Recipe
from nb201_agents.controllers.pretrain import pretrain
recipe = Recipe((("mini", "gratings"),), batches=40, updates=2, tasks=4, lanes=8, steps=4, queries=6)
pretrain(recipe, Path(sys.argv[1]))
"""


def start(arguments, out):
    command = [sys.executable, "-m", "nb201_env", *map(str, arguments), "--out", str(out)]
    return begin(command)


def begin(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def run(arguments, out):
    return ended(start(arguments, out))


def ended(process):
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def content(out):
    """What a command wrote, without what differs from run to run."""
    if out.is_dir() and not (out / "zarr.json").exists():
        return {path.relative_to(out).as_posix(): path.read_text() for path in sorted(out.glob("*/*.jsonl"))}
    table = open_table(out)
    assert table.verify() == []
    return table.fingerprint


def children(pid):
    """Processes that a process started, by their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found.append(int(path.name))
    return found


def gone(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def litter(folder, kept):
    """What lies about that is neither the result nor what the same command goes on from."""
    return sorted(path.name for path in folder.iterdir() if path.name not in kept)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize("jobs", [1, 2] if SIGNALS else [2])
@pytest.mark.parametrize("name", ["import", "bench", "generate"])
def test_signals_at_random_moments(name, jobs, work, tmp_path):
    if name not in commands(work, jobs):
        pytest.skip("generating needs PyTorch")
    arguments = commands(work, jobs)[name]
    suffix = "" if name == "bench" else ".zarr"
    whole = tmp_path / f"whole{suffix}"
    began = time.monotonic()
    assert run(arguments, whole)[0] == 0
    took = time.monotonic() - began
    rng = random.Random(f"{name} {jobs}")
    for number in range(max(1, SIGNALS)):
        for which in CODES if SIGNALS else [rng.choice(list(CODES))]:
            folder = tmp_path / f"{number}-{which.name}"
            folder.mkdir()
            out = folder / f"t{suffix}"
            _interrupt(arguments, out, which, rng.uniform(0.3, 0.95) * took)
            assert litter(folder, {out.name, f"{out.name}.parts"}) == [] or which == signal.SIGKILL
            code, _, errors = run(arguments, out)
            assert code == 0 or "exists already" in errors  # it was interrupted after the last thing it did
            assert content(out) == content(whole)
            parts = {f"{out.name}.parts"} if name == "import" else set()  # some records can be completed later
            assert litter(folder, {out.name, *parts}) == []
            assert list(folder.rglob("*.unfinished")) == []


def test_a_training_that_is_killed_comes_to_the_same_controller(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    whole = tmp_path / "whole.safetensors"
    command = [sys.executable, "-c", PRETRAIN]
    began = time.monotonic()
    assert ended(begin([*command, str(whole)]))[0] == 0
    took, rng, cut_short = time.monotonic() - began, random.Random(0), 0
    for number in range(10 if SIGNALS else 1):
        out = tmp_path / f"{number}.safetensors"
        process = begin([*command, str(out)])
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(0.4, 0.95) * took)
        process.kill()
        process.communicate()
        cut_short += not out.exists()
        code, _, errors = ended(begin([*command, str(out)]))
        assert code == 0 or "exists already" in errors
        assert out.read_bytes() == whole.read_bytes()
        kept = [f"{path.name}{suffix}" for path in (whole, out) for suffix in ("", ".json")]
        assert litter(tmp_path, kept) == []
        for path in tmp_path.glob(f"{out.name}*"):
            path.unlink()
    assert cut_short or not SIGNALS


def _interrupt(arguments, out, which, after):
    process = start(arguments, out)
    time.sleep(after)
    offspring = children(process.pid)
    process.send_signal(which)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:  # it was done before
        return
    assert process.returncode in (CODES[which], -which), errors  # as -15 or -2 dies who has not begun, or has ended
    if process.returncode == CODES[which] and which != signal.SIGKILL:
        (line,) = errors.splitlines()
        assert line.startswith("error: "), line
    for _ in range(100):
        if all(map(gone, offspring)):
            return
        time.sleep(0.1)
    raise AssertionError(f"workers outlived their parent: {offspring}")


ABANDONING = """
import asyncio, os, signal
from nb201_env import cli

async def work():
    await asyncio.sleep(1)

@cli.app.command()
def abandon():
    begun, loop = work(), asyncio.new_event_loop()
    task = loop.create_task(work())
    loop.call_soon(loop.stop)
    loop.run_forever()
    os.kill(os.getpid(), signal.SIGTERM)

cli.main()
"""


def test_an_interrupted_command_does_not_speak_of_what_it_left(tmp_path):
    code, _, errors = ended(begin([sys.executable, "-c", ABANDONING, "abandon"]))
    assert (code, errors) == (143, "error: terminated; what was complete is saved\n")


_PARTS = [pickle.dumps((sys.path, 0)), pickle.dumps(len)]


@pytest.mark.parametrize("told", [b"", _PARTS[0][:9], _PARTS[0], b"".join(_PARTS)])
def test_a_worker_whose_parent_is_gone_says_nothing(told):
    worker = subprocess.Popen(
        [sys.executable, "-c", "from nb201_env.parallel import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    worker.stdout.close()
    worker.stdin.write(told)
    worker.stdin.close()
    assert (worker.wait(60), worker.stderr.read()) == (1, b"")


@pytest.mark.parametrize("name", ["import", "bench", "generate"])
def test_two_writers(name, work, tmp_path):
    if name not in commands(work, 1):
        pytest.skip("generating needs PyTorch")
    arguments = commands(work, 1)[name]
    suffix = "" if name == "bench" else ".zarr"
    expected = None
    for number in range(WRITERS):
        folder = tmp_path / str(number)
        folder.mkdir()
        out = folder / f"t{suffix}"
        pair = [start(arguments, out) for _ in range(2)]
        said = [process.communicate(timeout=300) for process in pair]
        codes = sorted(process.returncode for process in pair)
        loser = next((errors for process, (_, errors) in zip(pair, said, strict=True) if process.returncode), "")
        if codes == [0, 2]:
            (line,) = loser.splitlines()
            holders = [f"process {process.pid}" for process in pair]
            assert any(who in line for who in (*holders, "another process", "exists already"))
        else:  # one was done before the other had started up, whose work there was nothing left of
            assert codes == [0, 0]
        expected = expected or content(out)
        assert content(out) == expected
        assert litter(folder, {out.name, f"{out.name}.parts"}) == []


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    path = tmp_path / "t.zarr"
    code = (
        "import sys, time\nfrom nb201_env.files import locked\n"
        f"with locked({str(path)!r}):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(NB201Error, match=rf"t\.zarr is being written by process {process.pid} on "), locked(path):
        pass
    process.kill()
    process.wait()
    (tmp_path / f"t.zarr~{process.pid}.unfinished").mkdir()
    (tmp_path / f"t.zarr.zip~{process.pid}.unfinished").write_text("another's")
    with locked(path):
        assert sorted(p.name for p in tmp_path.iterdir()) == ["t.zarr.lock", f"t.zarr.zip~{process.pid}.unfinished"]
    assert not (tmp_path / "t.zarr.lock").exists()
    with pytest.raises(NB201Error, match="does not exist; make it first"), locked(tmp_path / "no" / "t.zarr"):
        pass


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(RuntimeError), replacing(path) as fragment:
        fragment.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as fragment:
        fragment.write_text("after")
    assert path.read_text() == "after"


def test_the_version_is_said():
    result = subprocess.run([sys.executable, "-m", "nb201_env", "--version"], capture_output=True, text=True)
    import nb201_env

    assert result.stdout.split() == ["nb201_env", nb201_env.__version__]


def test_a_learner_leaves_nothing_in_the_temporary_folder(tmp_path):
    pytest.importorskip("stable_baselines3")
    (tmp_path / "tmp").mkdir()
    command = ["bench", "--agents", "ppo", "--queries", "20", "--runs", "2", "--json", "--out", str(tmp_path / "r")]
    result = subprocess.run([sys.executable, "-m", "nb201_env", *command], capture_output=True, text=True,
                            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")})  # fmt: skip
    assert {row["agent"] for row in json.loads(result.stdout)} >= {"ppo"}
    assert [path.name for path in (tmp_path / "tmp").iterdir() if "torchinductor" not in path.name] == []
