"""Files to clients: one module a dataset, and the ways to partition one."""
