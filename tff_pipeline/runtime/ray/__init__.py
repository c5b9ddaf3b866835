"""Computes the clients of a cohort on the machines of a Ray cluster."""

# A column of metrics.csv: how many workers were lost in a round.
LOST_WORKERS = "lost_workers"
