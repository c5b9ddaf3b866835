"""The workloads' models, written three times over with the same arithmetic."""
