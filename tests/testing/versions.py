"""A file or a folder of two files, in an old version and a new one."""

import os

from tff_pipeline.files import durable

OLD, NEW = "the old version\n", "the new version, which is longer\n" * 100


def write(path, text):
    """Writes the file "file", or two files into the folder "folder"."""
    if path.name == "file":
        durable.write_text(str(path), text)
        return
    with durable.folder(str(path), "a") as folder:
        for name in ("a", "b"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)


def holds(path, text):
    """Whether `path` is what `write(path, text)` leaves, and whole."""
    if path.name == "file":
        return path.is_file() and path.read_text() == text
    return path.is_dir() and {
        file.name: file.read_text() for file in path.iterdir()
    } == {"a": text, "b": text}
