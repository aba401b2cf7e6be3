"""What a runtime really executes: workloads and their mapping to operators."""
