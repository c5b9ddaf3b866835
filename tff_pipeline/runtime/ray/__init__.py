"""Computes the clients of a cohort on the machines of a Ray cluster."""
