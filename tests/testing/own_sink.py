"""A metric sink of one's own: a file with a line of JSON for every row."""

import json
import os


class JsonLines:
    """Writes rows to `rows.jsonl` in the run directory."""

    def __init__(self, context):
        self._path = os.path.join(context.directory.path, "rows.jsonl")

    def rewind(self, round_number, rows):
        with open(self._path, "w") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")

    def write(self, row):
        with open(self._path, "a") as file:
            file.write(json.dumps(row) + "\n")

    def sync(self):
        with open(self._path) as file:
            os.fsync(file.fileno())

    def close(self):
        pass
