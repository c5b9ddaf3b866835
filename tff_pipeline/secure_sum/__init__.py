"""Sums that show the server nothing else of its clients' vectors."""
