"""Differentiable search: a supernet's choices as probabilities, priced by a block table.

- ``losses.LatencyLoss(table, target_s)``: a module that drops into anybody's supernet
- ``relaxed.weights(logits, "gumbel", …)``: DARTS, FBNet and ProxylessNAS draw their choices
- ``supernet.MixedBlock``, ``supernet.train``: a supernet's block, and both its optimisers
- ``derive.derive(logits, table, limit)``: the network at the end, within its limit

All but ``derive`` need the extra ``torch``.
"""
