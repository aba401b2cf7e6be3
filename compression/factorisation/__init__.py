"""Layers as products of smaller ones: matrices and tensors of low rank."""
