"""Runs `tff-pipeline report` from a checkout."""

from tff_pipeline.commands import main

if __name__ == "__main__":
    main.run("report")
