"""Command-line flags; the only room that touches the flags of absl."""
