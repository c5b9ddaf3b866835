"""Files that grow by whole lines: metrics.csv and rounds.jsonl."""

from tff_pipeline.files import durable, storage


class Journal:
    """Appends whole lines to one file.

    A line that could not be written whole is cut off again before it is
    written anew.

    Attributes:
      path: The file.
    """

    def __init__(self, path: str):
        """Names the file; `begin` writes it.

        Args:
          path: The file, here or where `storage` reaches.
        """
        self.path = path
        self._size = 0

    def begin(self, lines: str) -> None:
        """Replaces the content of the file.

        Args:
          lines: Its first lines, each with its end.

        Raises:
          RunDirectoryError: If it cannot be written.
        """
        content = lines.encode("utf-8")
        durable.write_bytes(self.path, content)
        self._size = len(content)

    def append(self, line: str) -> None:
        """Adds a line; it may lie in memory until `sync`.

        Args:
          line: The line, its end included.

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
        """Waits until all lines are on disk.

        Raises:
          RunDirectoryError: If they cannot be written.
        """
        files = storage.file_system(self.path)
        durable.persistently(self.path, lambda: files.sync(self.path))
