"""Architecture search on cost models."""
