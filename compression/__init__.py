"""Pruning, quantisation, factorisation and the audit of what they gain."""
