import numpy as np
import pytest
from nb201_agents.harness.run import search
from nb201_agents.searcher import Searcher, Task, agent_names, make_agent
from nb201_agents.searchers.evolution import RegularizedEvolution
from nb201_agents.searchers.local_search import LocalSearch
from nb201_agents.searchers.reinforce import Reinforce

from nb201_env import ALL_OPS, EDGES, NEIGHBORS, NUM_CELLS, PARAMS, Evaluation, NB201Error, Oracle

TASK = Task("cifar10", 200, (200,))
SEARCHERS = ("random", "params", "rea", "rea-50", "local-search", "reinforce")


def told(index, accuracy):
    return Evaluation(index, 200, accuracy, 1.0, 0, True, False, accuracy)


def searched(published, name, queries, seed=0, **oracle):
    searcher = make_agent(name, TASK, np.random.default_rng(seed))
    return search(searcher, Oracle.open(published, "cifar10", max_queries=queries, **oracle))


def test_installed_agents():
    assert set(agent_names()) >= {*SEARCHERS, "ppo", "a2c", "dqn", "maskable-ppo"}
    with pytest.raises(NB201Error, match="unknown agent 'apples'; installed are a2c, asha, bananas, beta-darts, bohb"):
        make_agent("apples", TASK, np.random.default_rng(0))


@pytest.mark.parametrize("name", SEARCHERS)
def test_same_seed_same_search(published, name):
    assert isinstance(make_agent(name, TASK, np.random.default_rng(0)), Searcher)
    first, again, other = (searched(published, name, 80, seed) for seed in (0, 0, 1))
    assert first == again
    assert [r.index for r in first] != [r.index for r in other]


@pytest.mark.parametrize("name", ["params", "rea-50", "local-search"])
def test_searchers_without_repeats_see_the_whole_space_once(published, name):
    results = searched(published, name, 2 * NUM_CELLS, trial="mean")
    assert sorted(r.index for r in results) == list(range(NUM_CELLS))


def test_params_goes_down_in_parameters_with_ties_at_random(published):
    first, other = (np.array([r.index for r in searched(published, "params", 2000, seed)]) for seed in (0, 1))
    assert (np.diff(PARAMS[first]) <= 0).all()
    assert (PARAMS[first] == PARAMS[other]).all()


def test_evolution_mutates_the_best_of_its_sample_and_forgets_the_oldest():
    rng = np.random.default_rng(0)
    evolution = RegularizedEvolution(TASK, rng, population=3, sample=30)
    for index, accuracy in ((0, 0.9), (100, 0.5), (200, 0.7)):
        evolution.ask()
        evolution.tell(told(index, accuracy))
    assert evolution.ask().cell in NEIGHBORS[0]
    evolution.tell(told(300, 0.1))
    for _ in range(50):
        assert evolution.ask().cell in NEIGHBORS[200]


@pytest.mark.parametrize(
    ("mutation", "expected"), [("edge", [1 / 6] * 6), ("node-first", [1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9])]
)
def test_mutation_probabilities(mutation, expected):
    evolution = RegularizedEvolution(TASK, np.random.default_rng(0), population=1, mutation=mutation)
    evolution.tell(told(77, 0.5))
    draws = np.array([evolution.ask().cell for _ in range(6000)])
    changed = (ALL_OPS[draws] != ALL_OPS[77]).argmax(axis=1)
    shares = np.bincount(changed, minlength=len(EDGES)) / draws.size
    assert np.abs(shares - expected).max() < 4 * np.sqrt(0.25 / draws.size)
    assert set(draws.tolist()) == set(NEIGHBORS[77].tolist())


def test_local_search_moves_to_the_first_better_neighbor_and_restarts_at_an_optimum():
    accuracy = -np.abs(np.arange(NUM_CELLS) - 5000.0)
    searcher = LocalSearch(TASK, np.random.default_rng(0), initial=10)
    asked = []
    for _ in range(600):
        cell = searcher.ask().cell
        searcher.tell(told(cell, accuracy[cell]))
        asked.append(cell)
    assert len(set(asked)) == len(asked)
    current = max(asked[:10], key=lambda cell: accuracy[cell])
    for position, cell in enumerate(asked[10:], start=10):
        known = asked[:position]
        if all(n in known and accuracy[n] <= accuracy[current] for n in NEIGHBORS[current].tolist()):
            break  # an optimum: the next cell starts anew
        better = [n for n in NEIGHBORS[current].tolist() if n in known and accuracy[n] > accuracy[current]]
        if better:
            current = better[0] if cell not in NEIGHBORS[current] else current
        if cell in NEIGHBORS[current] and accuracy[cell] > accuracy[current]:
            current = cell
    else:
        pytest.fail("no optimum was reached")


def test_reinforce_is_torch_adam():
    torch = pytest.importorskip("torch")
    searcher = Reinforce(TASK, np.random.default_rng(0))
    logits = torch.tensor(searcher._logits, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.01)
    baseline, rng = 0.0, np.random.default_rng(1)
    for step in range(1, 200):
        index, accuracy = searcher.ask().cell, float(rng.random())
        baseline = 0.9 * baseline + 0.1 * 100 * accuracy
        advantage = 100 * accuracy - baseline / (1 - 0.9**step)
        log_prob = torch.log_softmax(logits, dim=1)[range(6), ALL_OPS[index].tolist()].sum()
        optimizer.zero_grad()
        (-log_prob * advantage).backward()
        optimizer.step()
        searcher.tell(told(index, accuracy))
        assert np.allclose(searcher._logits, logits.detach().numpy(), atol=1e-6)


def test_reinforce_samples_its_policy():
    searcher = Reinforce(TASK, np.random.default_rng(0))
    searcher._logits = np.log(np.array([[0.1, 0.2, 0.3, 0.15, 0.25]] * 6))
    draws = ALL_OPS[[searcher.ask().cell for _ in range(4000)]]
    shares = np.bincount(draws.ravel(), minlength=5) / draws.size
    assert np.abs(shares - [0.1, 0.2, 0.3, 0.15, 0.25]).max() < 4 * np.sqrt(0.25 / draws.size)
