"""Makes live objects from a config: task, privacy plans, process, runtime."""
