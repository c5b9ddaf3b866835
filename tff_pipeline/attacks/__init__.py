"""What hostile clients do: to their data, their update, or the cohort's."""
