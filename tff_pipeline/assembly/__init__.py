"""From a config to live objects: task, privacy, process, runtime."""
