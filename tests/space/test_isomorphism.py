"""The four rules: against nats_bench, and the exact one against what networks compute."""

import itertools

import numpy as np
import pytest

from nb201_env import ALL_OPS, NUM_CELLS, Cell
from nb201_env.space import AVG_POOL, CONV_1X1, CONV_3X3, EDGES, NONE, SKIP
from nb201_env.space.isomorphism import RULES, _sums, representatives


@pytest.mark.parametrize(
    ("rule", "classes"), [("syntactic", 15_625), ("skip", 12_751), ("nats", 6_466), ("exact", 5_234)]
)
def test_number_of_classes(rule, classes):
    assert len(np.unique(representatives(rule))) == classes


@pytest.mark.parametrize(("rule", "consider_zero"), [("syntactic", None), ("skip", False), ("nats", True)])
def test_agrees_with_nats_bench_on_every_cell(rule, consider_zero):
    genotypes = pytest.importorskip("nats_bench.genotype_utils")
    for index in range(NUM_CELLS):
        structure = genotypes.TopologyStructure.str2structure(Cell(index).arch)
        assert Cell(index).canonical(rule) == structure.to_unique_str(consider_zero)


def test_unknown_rule():
    with pytest.raises(ValueError, match="unknown isomorphism rule 'graph'; use one of syntactic, skip, nats, exact"):
        Cell(0).canonical("graph")
    assert RULES == ("syntactic", "skip", "nats", "exact")


def test_dead_cells():
    dead = representatives("exact") == representatives("exact")[Cell.parse([NONE] * 6).index]
    assert dead.sum() == 201


def test_two_convolutions_are_not_one_read_twice():
    assert Cell(112).canonical("nats") == Cell(13124).canonical("nats")
    assert Cell(112).canonical() != Cell(13124).canonical()


def test_a_convolution_of_zero_is_a_bias_whatever_its_kernel():
    one, three = Cell.parse([0, 0, 0, 0, CONV_1X1, 0]), Cell.parse([0, 0, 0, 0, CONV_3X3, 0])
    assert one.canonical() == three.canonical() != Cell.parse([0] * 6).canonical()


# --- numerically ------------------------------------------------------------------------------------------------------


def _live(ops):
    """Edges of the convolutions that the output depends on, and those among them that are only a bias."""
    output, read = _sums(ops)
    todo, live = [origin for _, origin in output], set()
    while todo:
        edge = todo.pop()
        if edge >= 0 and edge not in live:
            live.add(edge)
            todo += [origin for _, origin in read[edge]]
    return {edge: ("bias" if not read[edge] else ops[edge]) for edge in sorted(live)}


class _NumericCell:
    """A cell in float64 whose convolutions take their parameters from outside, so that cells can share them."""

    def __init__(self, ops, parameters):
        self.ops, self.parameters = ops, parameters

    def __call__(self, x, training):
        from torch.nn import functional

        nodes = [x]
        for target in (1, 2, 3):
            total = x * 0
            for edge, (op, (source, end)) in enumerate(zip(self.ops, EDGES, strict=True)):
                if end != target:
                    continue
                y = nodes[source]
                if op == SKIP:
                    total = total + y
                elif op == AVG_POOL:
                    total = total + functional.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
                elif op in (CONV_1X1, CONV_3X3):
                    weight, gamma, beta, mean, var = self.parameters[edge]
                    kernel = weight if op == CONV_3X3 else weight[:, :, 1:2, 1:2]
                    y = functional.conv2d(functional.relu(y), kernel, padding=1 if op == CONV_3X3 else 0)
                    total = total + functional.batch_norm(y, mean.clone(), var.clone(), gamma, beta, training)
            nodes.append(total)
        return nodes[3]


def _parameters(torch, generator):
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight, gamma, beta = draw(3, 3, 3, 3), draw(3), draw(3)
    for parameter in (weight, gamma, beta):
        parameter.requires_grad_()
    # A convolution of zero stays zero in the running statistics as well.
    return weight, gamma, beta, draw(3) * 0, draw(3).abs() + 0.5


def _outputs_and_gradients(torch, ops, parameters, x):
    """Output in training and in evaluation, and the gradients of what is live, of a random projection of both."""
    live = _live(ops)
    used = [p for edge in live for p in (parameters[edge][2:3] if live[edge] == "bias" else parameters[edge][:3])]
    x = x.clone().requires_grad_()
    results = []
    for training in (True, False):
        output = _NumericCell(ops, parameters)(x, training)
        projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results.append((output, torch.autograd.grad((output * projection).sum(), [x, *used], allow_unused=True)))
    return [(o.detach(), dict(zip(["x", *map(id, used)], g, strict=True))) for o, g in results]


def _same_function(torch, first, second, matching):
    """Whether two cells agree when the second's live convolutions take the parameters of the first's."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
    ours = {edge: _parameters(torch, generator) for edge in range(6)}
    theirs = {edge: _parameters(torch, generator) for edge in range(6)}
    theirs |= {matching[edge]: ours[edge] for edge in matching}
    for (a, grads_a), (b, grads_b) in zip(
        _outputs_and_gradients(torch, first, ours, x), _outputs_and_gradients(torch, second, theirs, x), strict=True
    ):
        if not torch.allclose(a, b, rtol=1e-9, atol=1e-9) or grads_a.keys() != grads_b.keys():
            return False
        for key, grad in grads_a.items():
            other = grads_b[key]
            grad, other = (torch.zeros(()) if g is None else g for g in (grad, other))
            if not torch.allclose(grad.double(), other.double(), rtol=1e-7, atol=1e-7):
                return False
    return True


def _matchings(first, second):
    ours, theirs = _live(first), _live(second)
    for order in itertools.permutations(theirs):
        if [ours[edge] for edge in ours] == [theirs[edge] for edge in order]:
            yield dict(zip(ours, order, strict=True))


def _isomorphic_numerically(torch, first, second):
    if sorted(map(str, _live(first).values())) != sorted(map(str, _live(second).values())):
        return False
    return any(_same_function(torch, first, second, matching) for matching in _matchings(first, second))


def test_merged_cells_compute_the_same_outputs_and_gradients():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    lowest = representatives("exact")
    merged = np.flatnonzero(lowest != np.arange(NUM_CELLS))
    for index in rng.choice(merged, 150, replace=False):
        first, second = ALL_OPS[index].tolist(), ALL_OPS[lowest[index]].tolist()
        assert _isomorphic_numerically(torch, first, second), (index, lowest[index])


def test_cells_that_only_nats_merges_compute_different_things():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    lowest = representatives("nats")
    wrongly = np.flatnonzero(representatives("exact") != representatives("exact")[lowest])
    assert len(wrongly) > 300
    for index in [13124, *rng.choice(wrongly, 40, replace=False)]:
        first, second = ALL_OPS[index].tolist(), ALL_OPS[lowest[index]].tolist()
        assert not _isomorphic_numerically(torch, first, second), (index, lowest[index])
