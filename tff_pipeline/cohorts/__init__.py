"""Who takes part in a round, and with which examples."""
