"""When are two cells the same network? Four rules, from the strings alone to exact equality of what training computes.

Every rule maps a cell to a string; cells are one class when their strings are equal.

* `syntactic` (15,625 classes), `skip` (12,751) and `nats` (6,466) give the very strings of nats_bench's
  `TopologyStructure.to_unique_str(consider_zero=None | False | True)`: each node is the sorted sum of its incoming
  terms, `skip` replaces a skip by its source, and `nats` also calls an edge zero where its op is `none` or its source
  consists of one zero term.
* `exact` (5,234 classes): two cells are one class when a one-to-one matching of their live parameters makes outputs and
  gradients equal in real arithmetic, in training and in evaluation. A node is a sum of terms, each the input or the
  output of one convolution, pooled k times. Zeros vanish from sums and skips dissolve in them. Average pooling is
  linear, so it moves onto the terms, and it keeps constants, since it does not count the padding. A convolution of zero
  is no zero: its batch norm adds a trainable bias, whatever the kernel, and only that bias is live. A convolution that
  is read twice stays one convolution, and parameters that the output does not depend on do not count.

`nats` both merges and splits wrongly: it takes convolutions of zero for zeros and two readings of one convolution for
two convolutions, but does not drop zeros from sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, groupby, permutations, product

import numpy as np
import numpy.typing as npt

from nb201_env.space import ALL_OPS, AVG_POOL, CONV_3X3, EDGES, NONE, NUM_CELLS, OPS, SKIP

# A term of an exact sum: how often it was pooled, and the edge of the convolution that made it (-1: the cell's input).
Term = tuple[int, int]
Sum = Counter[Term]

_INPUT = -1


def canonical_form(ops: Sequence[int], rule: str = "exact") -> str:
    """A string that is the same for two cells exactly when they are isomorphic under the rule.

    Args:
        ops: six op codes in edge order.
        rule: one of `RULES`.

    Raises:
        ValueError: for an unknown rule.
    """
    try:
        form = _FORMS[rule]
    except KeyError:
        raise ValueError(f"unknown isomorphism rule {rule!r}; use one of {', '.join(RULES)}") from None
    return form(ops)


@cache
def representatives(rule: str = "exact") -> npt.NDArray[np.int64]:
    """The lowest index of each cell's class, int64 of shape (15625,)."""
    first: dict[str, int] = {}
    forms = (canonical_form(ops, rule) for ops in ALL_OPS.tolist())
    lowest = np.fromiter((first.setdefault(form, index) for index, form in enumerate(forms)), np.int64, NUM_CELLS)
    lowest.flags.writeable = False
    return lowest


def _tree(ops: Sequence[int], *, skips: bool, zeros: bool) -> str:
    """The nested string of nats_bench; shared intermediate results are written out again wherever they are read."""
    nodes = ["0", "", "", ""]
    for target in (1, 2, 3):
        terms = []
        for op, (source, end) in zip(ops, EDGES, strict=True):
            if end != target:
                continue
            if zeros and (op == NONE or nodes[source] == "#"):
                terms.append("#")
            elif skips and op == SKIP:
                terms.append(nodes[source])
            else:
                terms.append(f"({nodes[source]})@{OPS[op]}")
        nodes[target] = "+".join(sorted(terms))
    return nodes[3]


def _sums(ops: Sequence[int]) -> tuple[Sum, dict[int, Sum]]:
    """The output of a cell as a sum, and what each convolution reads (an empty sum: it is a bias)."""
    nodes: list[Sum] = [Counter({(0, _INPUT): 1}), Counter(), Counter(), Counter()]
    read: dict[int, Sum] = {}
    for edge, (op, (source, target)) in enumerate(zip(ops, EDGES, strict=True)):
        if op == SKIP:
            nodes[target].update(nodes[source])
        elif op == AVG_POOL:
            for (pools, origin), times in nodes[source].items():
                is_bias = origin != _INPUT and not read[origin]
                nodes[target][pools if is_bias else pools + 1, origin] += times
        elif op != NONE:
            read[edge] = nodes[source]
            nodes[target][0, edge] += 1
    return nodes[3], read


def _exact(ops: Sequence[int]) -> str:
    output, read = _sums(ops)

    def kind(edge: int) -> str:
        if not read[edge]:
            return "bias"
        return "conv3x3" if ops[edge] == CONV_3X3 else "conv1x1"

    def live(total: Sum) -> Iterator[int]:
        for _, origin in total:
            if origin != _INPUT:
                yield origin
                yield from live(read[origin])

    def write(total: Sum, name: Callable[[int], str]) -> str:
        terms = sorted((name(origin), pools, times) for (pools, origin), times in total.items())
        return "+".join(f"{times}*pool^{pools}({origin})" for origin, pools, times in terms) or "0"

    def tree(origin: int) -> str:
        return "x" if origin == _INPUT else f"{kind(origin)}[{write(read[origin], tree)}]"

    def listing(order: Sequence[int]) -> str:
        names = {_INPUT: "x"} | {edge: f"c{position}" for position, edge in enumerate(order)}
        steps = [f"{names[edge]}={kind(edge)}[{write(read[edge], names.__getitem__)}]" for edge in order]
        return "; ".join([*steps, write(output, names.__getitem__)])

    # Convolutions with different trees cannot be matched; those with equal trees are tried in every order.
    ties = [list(group) for _, group in groupby(sorted(set(live(output)), key=tree), key=tree)]
    orders = product(*(permutations(group) for group in ties))
    return min(listing(list(chain.from_iterable(order))) for order in orders)


_FORMS: dict[str, Callable[[Sequence[int]], str]] = {
    "syntactic": lambda ops: _tree(ops, skips=False, zeros=False),
    "skip": lambda ops: _tree(ops, skips=True, zeros=False),
    "nats": lambda ops: _tree(ops, skips=True, zeros=True),
    "exact": _exact,
}

RULES = tuple(_FORMS)
