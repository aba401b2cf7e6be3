"""Expected costs and their gradients, the three relaxations, supernets, derived networks."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lwprof.errors import UsageError
from lwprof.predictors.block_table import BlockTable
from lwprof.search.differentiable.derive import derive
from lwprof.search.differentiable.losses import FORMS, LatencyLoss
from lwprof.search.differentiable.relaxed import (
    KINDS,
    binary,
    empty_logits,
    keep_untouched,
    weights,
)
from lwprof.search.differentiable.supernet import METHODS, Schedule, Supernet, train

CHOICES = (3, 4, 2, 4)


def table(seed: int = 0, choices: tuple[int, ...] = CHOICES) -> BlockTable:
    costs = np.random.default_rng(seed).random((len(choices), max(choices), 1)) * 5e-3
    costs[np.arange(max(choices)) >= np.asarray(choices)[:, None]] = np.nan
    return BlockTable(choices, costs, [4e-3])


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_every_form_are_right(form: str) -> None:
    price = LatencyLoss(table(), 9e-3, form)
    start = torch.rand(len(CHOICES), 4, dtype=torch.float64, requires_grad=True)
    entropy = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    mask = torch.isfinite(empty_logits(CHOICES))

    def loss(ce: object, logits: object) -> object:
        return price(ce, torch.softmax(torch.where(mask, logits, -torch.inf), -1))

    assert torch.autograd.gradcheck(loss, (entropy, start))


def test_losses_are_the_published_formulas() -> None:
    rows = torch.softmax(empty_logits(CHOICES).double(), -1)
    cost = table().predict(np.array(np.meshgrid(*map(range, CHOICES))).reshape(4, -1).T).mean()
    assert float(LatencyLoss(table()).expected(rows)) == pytest.approx(cost)
    ce, ms = torch.tensor(2.0, dtype=torch.float64), cost * 1e3
    expected = {
        "fbnet": 2 * 0.2 * np.log(ms) ** 0.6,
        "proxyless_mul": 2 * 0.2 * (np.log(ms) / np.log(9.0)) ** 0.3,
        "proxyless_add": 2 + 0.1 * (ms - 9) / 9,
        "target": 2 + 0.1 * abs(ms / 9 - 1),
    }
    for form, value in expected.items():
        assert float(LatencyLoss(table(), 9e-3, form)(ce, rows)) == pytest.approx(value)
    with pytest.raises(UsageError, match="target_s"):
        LatencyLoss(table(), form="target")


def test_relaxations_are_distributions_and_gumbel_cools_to_the_logits_frequencies() -> None:
    torch.manual_seed(0)
    logits = empty_logits(CHOICES)
    logits[0, :3] = torch.log(torch.tensor([0.6, 0.3, 0.1]))
    for kind in KINDS:
        rows = weights(logits, kind)
        assert torch.allclose(rows.sum(-1), torch.ones(4)) and bool((rows[2, 2:] == 0).all())
    draws = torch.stack([weights(logits, "gumbel", 0.05)[0] for _ in range(3000)])
    assert torch.allclose(draws.mean(0)[:3], torch.tensor([0.6, 0.3, 0.1]), atol=0.03)
    picks = torch.stack([weights(logits, "binary")[0] for _ in range(3000)])
    # The active path of two drawn without replacement: worked out by hand for these three.
    p = [0.6, 0.3, 0.1]
    active = [
        sum((p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])) * p[i] / (p[i] + p[j])
            for j in range(3) if j != i) for i in range(3)
    ]  # fmt: skip
    assert torch.allclose(picks.mean(0)[:3], torch.tensor(active), atol=0.03)


def test_two_path_gradients_are_those_of_the_paper() -> None:
    torch.manual_seed(3)
    logits = torch.randn(1, 4, dtype=torch.float64, requires_grad=True)
    gates, drawn = binary(logits)
    per_gate = torch.randn(4, dtype=torch.float64)
    (gates[0] * per_gate).sum().backward()
    pair = torch.nonzero(drawn[0])[:, 0].tolist()
    p = torch.softmax(logits.detach()[0, pair], -1)
    for i in range(2):
        expected = sum(per_gate[pair[j]] * p[j] * (float(i == j) - p[i]) for j in range(2))
        assert float(logits.grad[0, pair[i]]) == pytest.approx(float(expected))
    assert float(logits.grad[0][~drawn[0]].abs().sum()) == 0
    moved = logits.detach().clone()
    moved[0, pair[0]] += 0.7
    moved[0, pair[1]] -= 0.2
    kept = torch.softmax(keep_untouched(logits.detach(), moved), -1)
    untouched = ~drawn[0]
    assert torch.allclose(kept[0, untouched], torch.softmax(logits.detach(), -1)[0, untouched])


def toy(seed: int) -> Supernet:
    """Scales that differ in cost; the dear choices are the better ones."""
    torch.manual_seed(seed)
    blocks = [[torch.nn.Linear(8, 8) if c else torch.nn.Identity() for c in range(n)]
              for n in CHOICES]  # fmt: skip
    return Supernet(torch.nn.Linear(4, 8), blocks, torch.nn.Linear(8, 3))


@pytest.mark.parametrize("method", METHODS)
def test_supernets_turn_to_cheap_paths_when_paths_cost_enough(method: str) -> None:
    costs = np.zeros((4, 4, 1))
    costs[:, 1:] = 5e-3
    dear = BlockTable(CHOICES, np.where(np.isfinite(table().costs), costs, np.nan), [2e-3])
    x = torch.randn(96, 4)
    y = x[:, :3].argmax(-1)
    net = toy(1)
    price = LatencyLoss(dear, 3e-3, "proxyless_add", weight=5.0)
    logits = train(net, lambda: [(x[:64], y[:64])] * 6, lambda: [(x[64:], y[64:])] * 6, price,
                   method, Schedule(2, 12, logit_rate=0.2))  # fmt: skip
    assert torch.isfinite(logits[:, 0]).all() and (logits.argmax(-1) == 0).all()
    assert torch.isinf(logits[2, 2:]).all()
    assert net(x, net.one_hot([0, 1, 0, 2])).shape == (96, 3)


def test_derived_networks_lie_within_five_per_cent_of_their_target() -> None:
    choices = (9,) * 22
    rng, hits, n = np.random.default_rng(0), 0, 40
    for seed in range(n):
        costs = table(seed, choices)
        sampled = costs.predict(rng.integers(0, 9, size=(500, 22)))[:, 0]
        target = float(np.quantile(sampled, rng.uniform(0.05, 0.95)))
        code = derive(rng.normal(size=(22, 9)), costs, target, within=0.05)
        assert code is not None
        latency = float(costs.predict(code[None])[0, 0])
        assert latency <= target * (1 + 1e-9)
        hits += latency >= 0.95 * target
    assert hits >= 0.95 * n
    assert derive(rng.normal(size=(22, 9)), costs, 1e-9) is None
