"""Graph, kernels, plan, session, statistics, store: how numbers are obtained."""
