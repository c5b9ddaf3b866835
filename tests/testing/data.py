"""Where the files of real data sets lie."""

import os
import pathlib

import pytest


def data_folder(name):
    """Folder of a dataset's files, or a skip that says how to give it."""
    root = os.environ.get("TFF_PIPELINE_DATA")
    if root is None:
        pytest.skip(
            f"TFF_PIPELINE_DATA is not set; it names a folder with {name}/ in "
            "it"
        )
    path = pathlib.Path(root).resolve() / name
    assert path.is_dir(), f"TFF_PIPELINE_DATA={root} holds no {name}/"
    return path
