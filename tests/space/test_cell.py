import copy
import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb201_env import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS, OPS, PARAMS, Cell, InvalidCellError, index_of
from nb201_env.space import all_macs, all_params

indices = st.integers(0, NUM_CELLS - 1)

# Official index, CIFAR-10 parameters and MACs: shared by NAS-Bench-201, NATS-Bench and HW-NAS-Bench.
NAMED = {
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|": (1651, 73_306, 7_783_050),
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|": (
        0,
        129_306,
        15_647_370,
    ),
    "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|nor_conv_1x1~1|none~2|": (284, 101_306, 11_715_210),
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|": (11472, 559_386, 78_561_930),
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|": (
        6111,
        1_073_466,
        153_272_970,
    ),
}


def test_official_order():
    strings = "\n".join(Cell(index).arch for index in range(NUM_CELLS))
    assert (
        hashlib.sha256(strings.encode()).hexdigest()
        == "83abc799e45cf34e9d2163654668ab998b9a54d01c39e72ca1f71f2cdf356d84"
    )


@pytest.mark.parametrize(("arch", "expected"), NAMED.items())
def test_named_cells(arch, expected):
    cell = Cell.parse(arch)
    assert (cell.index, cell.params(), cell.macs()) == expected
    assert cell.arch == arch


def test_params_and_macs_follow_the_published_closed_forms():
    n3, n1 = (ALL_OPS == 3).sum(axis=1), (ALL_OPS == 2).sum(axis=1)
    assert (73_306 + 243_040 * n3 + 28_000 * n1 == PARAMS).all()
    assert (all_params(120) == PARAMS + 65 * 110).all()
    assert (all_macs(100) == 7_782_400 + 65 * 100 + 35_389_440 * n3 + 3_932_160 * n1).all()
    assert (all_macs(120, 16) == (7_782_400 + 35_389_440 * n3 + 3_932_160 * n1) // 4 + 65 * 120).all()


def test_image_sizes_that_do_not_halve_twice_are_refused():
    with pytest.raises(ValueError, match="multiple of 4, got 30"):
        all_macs(image_size=30)


@given(indices)
def test_every_notation_names_the_same_cell(index):
    cell = Cell(index)
    names = [OPS[op] for op in cell.ops]
    forms = [index, np.int64(index), np.array(index), cell, cell.arch, cell.ops, list(cell.ops), names, ALL_OPS[index]]
    assert {Cell.parse(form) for form in forms} == {cell}
    assert index_of(cell.ops) == index
    assert all(cell.matrix()[target, source] == op for op, (source, target) in zip(cell.ops, EDGES, strict=True))
    assert pickle.loads(pickle.dumps(cell)) == copy.deepcopy(cell) == cell


@given(indices)
def test_neighbors_differ_in_one_edge(index):
    neighbors = ALL_OPS[NEIGHBORS[index]]
    assert ((neighbors != ALL_OPS[index]).sum(axis=1) == 1).all()
    assert len({tuple(ops) for ops in neighbors.tolist()}) == 24
    assert (index_of(neighbors) == NEIGHBORS[index]).all()
    edges = (neighbors != ALL_OPS[index]).argmax(axis=1)
    assert (edges == np.repeat(np.arange(6), 4)).all()


def test_index_of_whole_space():
    assert (index_of(ALL_OPS) == np.arange(NUM_CELLS)).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "integer from 0 to 15624, got -1"),
        (NUM_CELLS, "got 15625"),
        (True, "got True"),
        (1.5, "got 1.5"),
        (None, "got None"),
        ([0, 1, 2], "6 ops, one an edge, got 3"),
        ([0, 1, 2, 3, 4, 5], r"edge 5 \(2, 3\): 5 is not an op"),
        ([0, 0, 0, 0, 0, 0.5], "0.5 is not an op"),
        (["none"] * 5 + ["conv"], "'conv' is not an op"),
        ("", "expected '|' .* at character 0, found the end"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|", r"edge 5 \(2->3\) at character 40, found the end"),
        ("|none~0|+|none~0|nine~1|+|none~0|none~1|none~2|", "an op .* at character 17, found 'nine"),
        ("|none~0|+|none~0|none~0|+|none~0|none~1|none~2|", r"expected '~1\|' at character 21"),
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|x", "expected the end at character 47, found 'x'"),
    ],
)
def test_what_is_no_cell_is_refused(value, message):
    with pytest.raises(InvalidCellError, match=message):
        Cell.parse(value)


@pytest.mark.parametrize("ops", [[0, 0, 0], [[0] * 5], [0.0] * 6, [0, 0, 0, 0, 0, 5], [-1] * 6])
def test_index_of_refuses_what_are_no_ops(ops):
    with pytest.raises(InvalidCellError):
        index_of(ops)


def test_arrays_cannot_be_changed_by_accident():
    for array in (ALL_OPS, NEIGHBORS, PARAMS):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_networkx():
    pytest.importorskip("networkx")
    graph = Cell(6111).networkx()
    assert [graph.edges[edge]["op"] for edge in EDGES] == list(Cell(6111).ops)


def test_against_the_official_meta_file(real_data):
    import bz2

    from nb201_env.importers.unpickle import restricted_load

    with bz2.open(real_data / "nats-tss-records" / "meta.pickle.pbz2") as file:
        meta = restricted_load(file, "meta")
    assert meta["meta_archs"] == [Cell(index).arch for index in range(NUM_CELLS)]
