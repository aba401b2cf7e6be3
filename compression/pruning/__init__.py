"""Pruning: saliency × selector under a cost model × recovery."""
