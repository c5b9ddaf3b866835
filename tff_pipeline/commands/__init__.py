"""What scripts do with runs: evaluate, export, verify, audit, prepare data."""
