"""A training loss that knows what the network costs.

    price = LatencyLoss(table, target_s=0.03, form="fbnet")
    loss = price(cross_entropy(net(x), y), probabilities)    # backward() reaches the logits

Forms, with E the expected latency of the probabilities and T the target:

    fbnet           CE · α · log(E)^β, α = 0.2, β = 0.6, E in milliseconds      (arXiv 1812.03443)
    proxyless_mul   CE · α · (log E ÷ log T)^β, α = 0.2, β = 0.3, milliseconds  (arXiv 1812.00332)
    proxyless_add   CE + λ · (E − T) ÷ T, λ = 0.1                               (the same)
    target          CE + λ · |E ÷ T − 1|, λ = 0.1                               (TF-NAS)
"""

from __future__ import annotations

from typing import Any

from lwprof.errors import MissingExtra, UsageError
from lwprof.predictors.block_table import BlockTable

try:
    import torch
except ImportError:
    raise MissingExtra("differentiable search needs PyTorch: pip install 'lwprof[torch]'") from None

FORMS = {"fbnet": (0.2, 0.6), "proxyless_mul": (0.2, 0.3), "proxyless_add": (0.1, 1.0),
         "target": (0.1, 1.0)}  # fmt: skip
"""Weight and exponent of each form, as published."""
SMALLEST = 1e-3


class LatencyLoss(torch.nn.Module):  # type: ignore[misc]
    """Cross-entropy weighed by, or added to, the expected cost of a supernet.

    Args:
        table: costs by block and choice.
        target_s: T, in the unit of the quantity; needed by all forms but ``fbnet``.
        form: see the module.
        weight, exponent: α or λ, and β; None takes the published ones.
        quantity: which column of the table, such as ``energy_j``.
        unit: what the logarithms count in, 1e-3 for milliseconds. Where the costs lie near one
            unit, logarithms vanish: choose it so that they are a few units or more.

    Raises:
        UsageError: an unknown form or quantity, or no target where one is needed.
    """

    def __init__(
        self, table: BlockTable, target_s: float | None = None, form: str = "fbnet", *,
        weight: float | None = None, exponent: float | None = None,
        quantity: str = "latency_s", unit: float = 1e-3,
    ) -> None:  # fmt: skip
        super().__init__()
        if form not in FORMS:
            raise UsageError(f"no loss has the form {form!r}; there are {', '.join(FORMS)}")
        if quantity not in table.quantities:
            raise UsageError(f"the table has no {quantity}, only {', '.join(table.quantities)}")
        if form != "fbnet" and not (target_s is not None and target_s > 0):
            raise UsageError(f"the form {form} needs a positive target_s")
        self.table, self.form, self.unit, self.target_s = table, form, unit, target_s
        self.weight = FORMS[form][0] if weight is None else weight
        self.exponent = FORMS[form][1] if exponent is None else exponent
        self._column = table.quantities.index(quantity)

    def expected(self, probabilities: Any) -> Any:
        """E: the expected cost of (…, blocks, most choices) probabilities, differentiable."""
        return self.table.expected(probabilities)[..., self._column]

    def forward(self, cross_entropy: Any, probabilities: Any) -> Any:
        """The loss of a batch.

        Args:
            cross_entropy: a scalar.
            probabilities: (blocks, most choices), nought where a block has no such choice.
        """
        cost = self.expected(probabilities)
        if self.form == "fbnet":
            return cross_entropy * self.weight * self._log(cost) ** self.exponent
        assert self.target_s is not None
        if self.form == "proxyless_mul":
            target = self._log(cost.new_tensor(self.target_s))
            return cross_entropy * self.weight * (self._log(cost) / target) ** self.exponent
        if self.form == "proxyless_add":
            return cross_entropy + self.weight * (cost - self.target_s) / self.target_s
        return cross_entropy + self.weight * (cost / self.target_s - 1).abs()

    def _log(self, cost: Any) -> Any:
        # A power of a negative logarithm is no number: costs below one unit count as just above.
        return torch.log(cost / self.unit).clamp(min=SMALLEST)
