"""What is minimised and measured: losses, metrics, what an output means."""
