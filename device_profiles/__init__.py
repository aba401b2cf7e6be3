"""Boards and devices: TOML profiles, their loader, and the registry of the user's devices."""
