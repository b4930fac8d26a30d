"""Vector environments that give tensors."""

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nb201_env import NB201Error  # noqa: E402
from nb201_env.integrations.torch import LanesToTorch  # noqa: E402


@pytest.mark.parametrize("name", ["NB201/BuildCell-v0", "NB201/EditCell-v0", "NB201/Search-v0"])
@pytest.mark.parametrize("more", [{}, {"observation": "dict"}], ids=str)
def test_tensors_are_the_arrays_of_the_environment(name, more):
    kwargs = {"num_envs": 3, **more}
    arrays, tensors = gym.make_vec(name, **kwargs), LanesToTorch(gym.make_vec(name, **kwargs))
    expected, found = arrays.reset(seed=5)[0], tensors.reset(seed=5)[0]
    for step in range(40):
        check(found, expected)
        actions = np.random.default_rng(step).integers(5, size=3)
        expected, *told, infos = arrays.step(actions)
        found, *also_told, also_infos = tensors.step(torch.from_numpy(actions))
        for one, other in zip(also_told, told, strict=True):
            np.testing.assert_allclose(one.numpy(), other, rtol=1e-6)
        assert also_told[0].dtype == torch.float32
        assert also_told[1].dtype == torch.bool
        assert infos.keys() == also_infos.keys()


def check(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            check(found[key], expected[key])
    else:
        assert isinstance(found, torch.Tensor)
        assert np.array_equal(found.numpy(), expected)


def test_nothing_is_copied():
    env = gym.make_vec("NB201/BuildCell-v0", num_envs=4)
    kept, real = [], env.step

    def step(actions):
        result = real(actions)
        kept.append(result[0])
        return result

    env.step = step
    lanes = LanesToTorch(env)
    lanes.reset(seed=0)
    found = [lanes.step(torch.zeros(4, dtype=torch.long))[0] for _ in range(3)]
    for tensor, array in zip(found, kept, strict=True):
        assert np.shares_memory(tensor.numpy(), array)
    assert not np.shares_memory(found[0].numpy(), found[1].numpy())


def test_an_unknown_device_is_refused():
    with pytest.raises(NB201Error, match="tpu"):
        LanesToTorch(gym.make_vec("NB201/BuildCell-v0", num_envs=2), device="tpu")
