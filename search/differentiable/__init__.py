"""Differentiable searches: expected costs of a supernet, and how its choices are drawn."""
