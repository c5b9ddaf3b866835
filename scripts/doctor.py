"""Runs `tff-pipeline doctor` from a checkout, whether installed or not."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tff_pipeline.commands import main

if __name__ == "__main__":
    main.run("doctor")
