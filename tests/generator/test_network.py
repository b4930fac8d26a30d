import numpy as np
import pytest

from nb201_env import ALL_OPS, EDGES, Cell
from nb201_env.space import all_macs, all_params

torch = pytest.importorskip("torch")

from nb201_generator.network import Network, ReLUConvBN  # noqa: E402

CELLS = [0, 11, 284, 1462, 1651, 1835, 4317, 6111, 7581, 11472]


def count_macs(network, image_size):
    """Multiply-accumulates of convolutions and of the linear layer with its bias, as NAS-Bench-201 counts them."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += module.weight.numel() * output.shape[2] * output.shape[3]
        else:
            total += module.weight.numel() + module.bias.numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, image_size, image_size))
    return total


@pytest.mark.parametrize("index", CELLS)
def test_params_and_macs_equal_the_closed_forms(index):
    for num_classes, image_size, channels, repeats in ((10, 32, 16, 5), (120, 16, 16, 5), (10, 8, 8, 1)):
        network = Network(Cell(index), num_classes, channels, repeats)
        params = sum(parameter.numel() for parameter in network.parameters())
        assert params == all_params(num_classes, channels, repeats)[index]
        assert count_macs(network, image_size) == all_macs(num_classes, image_size, channels, repeats)[index]


def test_names_of_the_official_checkpoints():
    names = set(dict(Network(Cell(6111)).named_parameters()))
    assert {"stem.0.weight", "stem.1.bias", "cells.0.layers.0.op.1.weight", "cells.5.conv_a.op.1.weight"} <= names
    assert {"cells.11.downsample.1.weight", "cells.16.layers.5.op.2.bias", "lastact.0.weight"} <= names
    assert {"classifier.weight", "classifier.bias"} <= names
    assert len(Network(Cell(0)).cells) == 17


def test_a_cell_is_the_sum_of_its_paths():
    """Output of node 3 written out edge by edge."""
    ops = [3, 1, 2, 4, 0, 3]
    network = Network(Cell.parse(ops), channels=8, cells_per_stage=1).double().eval()
    cell = network.cells[0]
    x = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    e = list(cell.layers)
    node1 = e[0](x)
    node2 = x + e[2](node1)
    pooled = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(cell(x), pooled + e[5](node2))
    assert [isinstance(layer, ReLUConvBN) for layer in e] == [op in (2, 3) for op in ops]


def test_dead_convolutions_get_no_gradient_and_the_rest_does():
    cell = Cell.parse([3, 0, 0, 3, 0, 0])
    network = Network(cell, channels=8, cells_per_stage=1)
    network(torch.randn(4, 3, 8, 8)).sum().backward()
    layers = network.cells[0].layers
    assert layers[0].op[1].weight.grad is None or not layers[0].op[1].weight.grad.any()
    assert layers[3].op[1].weight.grad.any()


@pytest.mark.parametrize("size", [8, 16, 32])
def test_image_sizes(size):
    logits = Network(Cell(0), num_classes=7, channels=8, cells_per_stage=1)(torch.zeros(2, 3, size, size))
    assert logits.shape == (2, 7)


def test_every_op_stands_where_the_edge_order_says():
    index = int(np.flatnonzero((ALL_OPS == [0, 1, 2, 3, 4, 0]).all(axis=1))[0])
    layers = Network(Cell(index)).cells[0].layers
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Zero", "Identity", "ReLUConvBN", "ReLUConvBN", "AvgPool2d", "Zero"]
    assert [layer.op[1].kernel_size for layer in layers if isinstance(layer, ReLUConvBN)] == [(1, 1), (3, 3)]
    assert len(EDGES) == 6
