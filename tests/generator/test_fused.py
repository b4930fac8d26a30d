"""A fused network is its single networks: step by step, every parameter and statistic, in float64."""

import numpy as np
import pytest

from nb201_env import Cell

torch = pytest.importorskip("torch")

from nb201_generator.fused import FusedNetwork, average, loss_of, network_tensor  # noqa: E402
from nb201_generator.images import SPLITS, ImageSet, Split  # noqa: E402
from nb201_generator.network import Network  # noqa: E402
from nb201_generator.recipe import Recipe  # noqa: E402
from nb201_generator.train import DeviceImages, _evaluate, _train_epoch  # noqa: E402
from torch.nn import functional  # noqa: E402

# all-none, all-skip, all-pool, all-3x3, all-1x1, a cell with dead branches, the best, and one twice
CELLS = [Cell(i) for i in (1651, 1835, 7581, 1462, 4317, 112, 6111, 6111)] + [Cell.parse([3, 0, 0, 4, 0, 2])]


def make(cells_per_stage=1, channels=4, num_classes=5):
    torch.manual_seed(0)
    singles = [Network(cell, num_classes, channels, cells_per_stage).double() for cell in CELLS]
    fused = FusedNetwork(CELLS, num_classes, channels, cells_per_stage).double()
    fused.load(singles)
    return singles, fused


def optimizer_of(network):
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def assert_same(singles, fused):
    for name, tensor in fused.named_tensors():
        for net, single, part in fused.parts(name, tensor):
            expected = network_tensor(singles[net], single).reshape(part.shape)
            assert torch.allclose(part, expected, rtol=1e-9, atol=1e-11), (name, net)


@pytest.mark.parametrize(("cells_per_stage", "channels"), [(1, 4), (2, 3)])
def test_training_is_that_of_each_net_alone(cells_per_stage, channels):
    singles, fused = make(cells_per_stage, channels)
    optimizers = [optimizer_of(single) for single in singles]
    together = optimizer_of(fused)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        images = torch.randn(8, 3, 8, 8, generator=generator, dtype=torch.float64)
        labels = torch.randint(5, (8,), generator=generator)
        losses = loss_of(fused(images), labels)
        together.zero_grad()
        losses.sum().backward()
        together.step()
        for net, (single, optimizer) in enumerate(zip(singles, optimizers, strict=True)):
            loss = functional.cross_entropy(single(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert loss.item() == pytest.approx(losses[net].item(), rel=1e-10)
        assert_same(singles, fused)
    fused.eval()
    for net, single in enumerate(singles):
        assert torch.allclose(fused(images)[net], single.eval()(images))


def test_every_parameter_of_every_net_is_there_once():
    singles, fused = make()
    counted = [0] * len(singles)
    for name, parameter in fused.named_parameters():
        for net, _, part in fused.parts(name, parameter):
            counted[net] += part.numel()
    assert counted == [sum(p.numel() for p in single.parameters()) for single in singles]


@pytest.mark.parametrize("size", [1, 2, 4, 8, 16, 20])
def test_pooling_as_matrix_products(size):
    x = torch.randn(2, 3, 4, size, size, dtype=torch.float64)
    expected = functional.avg_pool2d(x.flatten(1, 2), 3, 1, 1, count_include_pad=False).reshape(x.shape)
    assert torch.allclose(average(x), expected)


def test_device_placement_without_a_device():
    """A step on the meta device: an operand that were made on the CPU could not be combined with the rest."""
    with torch.device("meta"):
        network = FusedNetwork(CELLS, channels=4, cells_per_stage=1)
    logits = network(torch.empty(2, 3, 8, 8, device="meta"))
    loss_of(logits, torch.empty(2, dtype=torch.long, device="meta")).sum().backward()
    assert logits.shape == (len(CELLS), 2, 10)
    assert {parameter.grad.device.type for parameter in network.parameters()} == {"meta"}


def test_an_epoch_stays_on_its_device():
    """Batches, augmentation, steps and evaluation on the meta device, which refuses operands from anywhere else."""
    labels = np.arange(20) % 10
    splits = {name: Split(np.zeros((20, 3, 8, 8), np.float32), labels) for name in SPLITS}
    images = ImageSet("x", 10, splits, mean=(0, 0, 0), std=(1, 1, 1))
    device, recipe = torch.device("meta"), Recipe("x", 1, 8, crop_padding=2)
    data = DeviceImages(images, device)
    with device:
        network = FusedNetwork(CELLS, channels=4, cells_per_stage=1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9, nesterov=True)
    batches = data.training_batches(recipe, torch.Generator().manual_seed(0))
    for found in (_train_epoch(network, optimizer, batches), _evaluate(network, data.evaluation_batches("valid"))):
        for total in found:
            assert (total.device.type, total.shape) == ("meta", (len(CELLS),))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_cuda():
    _, fused = make()
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    expected = fused(images)
    assert torch.allclose(fused.cuda()(images.cuda()).cpu(), expected)
