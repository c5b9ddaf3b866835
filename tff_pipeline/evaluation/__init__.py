"""Models on test sets: central, and client by client."""
