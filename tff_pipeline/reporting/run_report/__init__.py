"""A run's report.html: what happened in the run, on one page."""
