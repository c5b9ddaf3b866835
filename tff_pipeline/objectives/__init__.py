"""What training minimises and what is measured: losses, metrics, outputs."""
