"""Thin adapters: other people's search tools call our cost models, spaces and limits."""
