"""Runs TFF's computations, in this process or in TFF's worker."""
