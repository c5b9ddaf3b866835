"""Runs `tff-pipeline init` from a checkout."""

from tff_pipeline.commands import main

if __name__ == "__main__":
    main.run("init")
