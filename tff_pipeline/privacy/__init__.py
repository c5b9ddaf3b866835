"""Accounts for what a run gives away of a client, and limits it."""
