import numpy as np
import pytest

from nb201_env import NUM_CELLS, Cell, InvalidCellError, MissingDataError, NB201Error, Oracle
from nb201_env.tables.opening import open_table
from nb201_env.tables.writer import TableWriter


def test_a_query_reveals_the_table_and_costs_its_seconds(published):
    oracle = Oracle.open(published, "cifar100", trial="mean")
    result = oracle.query(9930)
    assert result.accuracy == published.accuracy("cifar100")[9930] == oracle.value(9930)
    assert result.seconds == published.train_seconds("cifar100")[9930]
    assert (result.trial, result.observed, result.repeat) == (-1, True, False)
    assert oracle.query(9930).repeat
    assert (oracle.n_queries, oracle.n_distinct, oracle.incumbent_index) == (2, 1, 9930)


def test_a_query_costs_training_and_one_pass_over_the_reward_split(synthetic):
    oracle = Oracle.open(synthetic, "toy", recipe="long", trial="mean", rungs=[1, 3, 4])
    for epoch in (1, 3):
        expected = synthetic.train_seconds("toy", recipe="long", epoch=epoch) + synthetic.eval_seconds(
            "toy", recipe="long", split="valid"
        )
        assert oracle.query(5, epoch).seconds == pytest.approx(expected[5])
    assert oracle.query(5, 3).accuracy == synthetic.accuracy("toy", recipe="long", epoch=3)[5]


def test_per_search_draws_are_a_hash_of_seed_and_cell(published):
    def drawn(seed):
        oracle = Oracle.open(published, "cifar10", seed=seed)
        return np.array([oracle.query(cell).trial for cell in range(3000)])

    first = drawn(1)
    assert (first == drawn(1)).all()
    assert (first != drawn(2)).any()
    present = ~np.isnan(published.accuracy("cifar10", trial="all")[:3000])
    assert present[np.arange(3000), first].all()
    three = first[present.sum(axis=1) == 3]
    shares = np.bincount(three, minlength=3) / three.size
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / three.size)
    agree = (first == drawn(2))[present.sum(axis=1) == 3].mean()
    assert abs(agree - 1 / 3) < 4 * np.sqrt(2 / 9 / three.size)


def test_per_search_tells_nothing_new_and_per_query_does(published):
    fixed, changing = (Oracle.open(published, "cifar100", trial=trial) for trial in ("per-search", "per-query"))
    assert len({fixed.query(0).accuracy for _ in range(50)}) == 1
    assert {changing.query(0).trial for _ in range(50)} == {0, 1, 2}
    every = published.accuracy("cifar100", trial="all")
    result = changing.query(17)
    assert result.accuracy == every[17, result.trial]


def test_the_order_of_queries_does_not_change_what_is_seen(published):
    forwards, backwards = Oracle.open(published, "cifar10", seed=3), Oracle.open(published, "cifar10", seed=3)
    cells = np.arange(200)
    assert (forwards.evaluate(cells).accuracy == backwards.evaluate(cells[::-1]).accuracy[::-1]).all()


def test_a_batch_is_its_queries_in_order_until_the_budget_ends(published):
    cells = np.random.default_rng(0).integers(NUM_CELLS, size=40)
    batched, single = (Oracle.open(published, "cifar10", budget=30_000) for _ in range(2))
    batch = batched.evaluate(cells)
    results = [single.query(int(cell)) for cell in cells]
    assert 5 < batch.observed.sum() < 30
    assert batch.observed.tolist() == [r.observed for r in results] == sorted(batch.observed, reverse=True)
    assert batch.accuracy.tolist() == [r.accuracy for r in results]
    assert batch.seconds.tolist() == [r.seconds for r in results]
    assert (batch.accuracy[~batch.observed] == 0).all()
    assert batched.seconds_used == single.seconds_used <= 30_000
    assert batched.exhausted


@pytest.mark.parametrize(
    "rules", [{"budget": 30_000, "overrun": "stop-after"}, {"budget": 30_000, "max_queries": 9}, {}]
)
def test_batches_and_queries_charge_alike(published, rules):
    cells = np.random.default_rng(1).integers(NUM_CELLS, size=40)
    batched, single = (Oracle.open(published, "cifar10", **rules) for _ in range(2))
    parts = [batched.evaluate(part) for part in np.split(cells, [7, 7, 30])]
    results = [single.query(int(cell)) for cell in cells]
    assert np.concatenate([part.observed for part in parts]).tolist() == [r.observed for r in results]
    assert np.concatenate([part.seconds for part in parts]).tolist() == [r.seconds for r in results]
    for name in ("exhausted", "n_queries", "n_distinct", "incumbent_index", "incumbent_accuracy"):
        assert getattr(batched, name) == getattr(single, name)
    assert batched.seconds_used == single.seconds_used


def test_batches_take_every_notation(published):
    cells = [6111, 0, 284]
    expected = Oracle.open(published, "cifar10").evaluate(cells).accuracy
    for form in ([Cell(c).ops for c in cells], [Cell(c).arch for c in cells], np.array(cells, np.int16)):
        assert (Oracle.open(published, "cifar10").evaluate(form).accuracy == expected).all()
    for bad in ([0.5], [-1], [NUM_CELLS], [[1, 2, 3]], ["nonsense"], np.zeros((2, 2, 6), int)):
        with pytest.raises(InvalidCellError):
            Oracle.open(published, "cifar10").evaluate(bad)
    assert Oracle.open(published, "cifar10").evaluate([]).index.size == 0


def test_the_test_split_is_out_of_reach(synthetic):
    for split in ("test", "valtest"):
        with pytest.raises(NB201Error, match="must not see test images"):
            Oracle.open(synthetic, "toy", recipe="long", split=split)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "mnist"}, "no dataset 'mnist'"),
        ({"recipe": "12ep"}, "no recipe '12ep'"),
        ({"epoch": 12}, "has epochs 200, not 12"),
        ({"trial": "best"}, "trial must be one of per-search, per-query, mean or a number, got 'best'"),
        ({"trial": True}, "got True"),
        ({"trial": 2}, "7456 of 15625 cells have no trial 2 on cifar10 / 200ep / valid at epoch 200: choose another"),
        (
            {"budget": 100},
            "a budget of 100 s buys no query: the cheapest cell of cifar10 costs 542",
        ),
        ({"budget": 1e6, "charge": "resume"}, "set max_queries"),
    ],
)
def test_bad_arguments(published, arguments, message):
    with pytest.raises(NB201Error, match=message):
        Oracle.open(published, **{"dataset": "cifar10", **arguments})


def test_a_number_of_a_trial(published):
    oracle = Oracle.open(published, "cifar10", trial=1)
    assert oracle.query(4).accuracy == published.accuracy("cifar10", trial=1)[4]
    assert oracle.query(4).trial == 1


def test_a_table_with_missing_cells_is_refused(tmp_path):
    correct = np.full((1, 1, NUM_CELLS), 5)
    correct[:, :, :20] = -1
    with TableWriter(tmp_path / "partial.zarr", "partial") as writer:
        writer.add_dataset("toy", num_classes=2, image_size=8)
        writer.add_training("toy", "one", "full", epochs=1, epoch_seconds=np.ones(NUM_CELLS))
        writer.add_split("toy", "one", "full", "valid", images=10, epochs=[1], correct=correct)
    with pytest.raises(MissingDataError, match="20 of 15625 cells have no value on toy / one / valid at epoch 1"):
        Oracle.open(open_table(tmp_path / "partial.zarr"), "toy")


def test_a_new_search_starts_over(published):
    oracle = Oracle.open(published, "cifar10", seed=1, max_queries=2)
    before = oracle.evaluate([1, 2]).accuracy
    assert oracle.exhausted
    oracle.new_search(1)
    assert (oracle.n_queries, oracle.n_distinct, oracle.incumbent_index, oracle.seconds_used) == (0, 0, -1, 0.0)
    assert (oracle.evaluate([1, 2]).accuracy == before).all()


def test_what_is_spent_beside_queries_is_charged():
    oracle = Oracle.open("published", "cifar10", budget=5_000)
    assert oracle.spend(1_500.5)
    assert (oracle.seconds_used, oracle.n_queries, oracle.exhausted) == (1_500.5, 0, False)
    first = oracle.query(6111)
    assert oracle.seconds_used == 1_500.5 + first.seconds
    assert not oracle.spend(3_000)  # more than is left: the search ends, and nothing more is charged
    assert oracle.exhausted
    assert oracle.seconds_used == 1_500.5 + first.seconds
    assert not oracle.query(7).observed
    assert not oracle.spend(0.0)
    after = Oracle.open("published", "cifar10", budget=1_000, overrun="stop-after")
    assert after.spend(1_200)
    assert (after.seconds_used, after.exhausted) == (1_200, True)
    for bad in (-1.0, float("nan"), float("inf"), "3", None, True):
        with pytest.raises(NB201Error, match="seconds must be"):
            Oracle.open("published", "cifar10").spend(bad)
