"""Where the time of a fused step goes, beside its bare convolutions: `python benchmarks/profile_fused.py`."""

from __future__ import annotations

import time
from collections import defaultdict

import torch
from bench_generator import BLOCK, CHANNELS, CLASSES, SIZE, stepper
from nb201_generator.fused import FusedNetwork, loss_of
from torch.profiler import ProfilerActivity, profile

BATCH, STEPS = 32, 5

KINDS = {
    "convolutions": ("conv",),
    "batch norm": ("batch_norm",),
    "ReLU": ("relu", "threshold", "clamp"),
    "gathering and adding at nodes": ("index", "split", "cat", "zero", "fill"),
    "pooling": ("pool", "matmul", "mm", "mean"),
    "optimiser": ("_foreach", "sgd", "optimizer"),
}
"""Names of operations by what they are for; matmul is pooling but for the one product of the classifier."""


def kind_of(name: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in name.lower() for part in parts)), "the rest")


def bare_convolutions(network: FusedNetwork, images: torch.Tensor) -> float:
    """Seconds of all convolutions of a step, forward and backward, on inputs of the same shapes and nothing else."""
    calls: list[tuple[torch.nn.Conv2d, torch.Tensor]] = []
    hooks = [
        module.register_forward_hook(
            lambda conv, inputs, _: calls.append((conv, torch.randn_like(inputs[0], requires_grad=True)))
        )
        for module in network.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    seconds = []
    for _ in range(STEPS):
        began = time.perf_counter()
        for conv, x in calls:
            conv(x).sum().backward()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    torch.set_num_threads(1)
    network = FusedNetwork(BLOCK[:25], CLASSES, CHANNELS, 1)
    step = stepper(network, loss_of, BATCH)
    step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    whole = (time.perf_counter() - began) / STEPS
    bare = bare_convolutions(network, torch.randn(BATCH, 3, SIZE, SIZE))
    print(f"a step of 25 nets at batch {BATCH}: {1e3 * whole:.0f} ms; its bare convolutions: {1e3 * bare:.0f} ms, "
          f"{bare / whole:.0%}")  # fmt: skip
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(STEPS):
            step()
    shares: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        shares[kind_of(event.key)] += event.self_cpu_time_total
    total = sum(shares.values())
    for kind, microseconds in sorted(shares.items(), key=lambda pair: -pair[1]):
        print(f"  {kind}: {microseconds / total:.0%}")


if __name__ == "__main__":
    main()
