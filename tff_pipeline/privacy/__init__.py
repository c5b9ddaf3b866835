"""What a run gives away of a client, and what keeps it from giving more."""
