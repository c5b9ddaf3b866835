"""Rules that withstand some hostile clients, on the rows of a cohort."""
