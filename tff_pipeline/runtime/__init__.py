"""Where TFF's computations run."""
