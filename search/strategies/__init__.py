"""How a space is searched: one strategy a file, each against any cost model."""
