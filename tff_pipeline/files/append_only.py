"""Files that grow by whole lines: metrics.csv and rounds.jsonl."""

from tff_pipeline.files import durable, storage


class Journal:
    """A file that grows by whole lines.

    A line that could not be written whole is cut off again before it is tried
    anew.
    """

    def __init__(self, path: str):
        self.path = path
        self._size = 0

    def begin(self, lines: str) -> None:
        """Replaces the file by these lines.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        content = lines.encode("utf-8")
        durable.write_bytes(self.path, content)
        self._size = len(content)

    def append(self, line: str) -> None:
        """Adds a line, its end included; see `sync`.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        files, content = storage.file_system(self.path), line.encode("utf-8")

        def write() -> None:
            if files.size(self.path) != self._size:
                files.truncate(self.path, self._size)
            files.append(self.path, content)

        durable.persistently(self.path, write)
        self._size += len(content)

    def sync(self) -> None:
        """Has all lines on the disk when it returns.

        Raises:
          RunDirectoryError: If they cannot be written.
        """
        files = storage.file_system(self.path)
        durable.persistently(self.path, lambda: files.sync(self.path))
