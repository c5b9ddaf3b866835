"""The sections of a report: a function of a `Record` each, in the registry."""
