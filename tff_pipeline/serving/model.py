"""Loads an exported model and calls its signatures.

A session and not `tf.saved_model.load`: it is what TensorFlow Serving itself
runs, it needs no Keras, and a call of it takes a quarter of the time of a call
of a TF2 signature, which for small models is most of the time.
"""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from google.protobuf import json_format  # type: ignore[import-untyped]

from tff_pipeline import errors
from tff_pipeline.serving import form_card, writing
from tff_pipeline.serving.form import Field
from tff_pipeline.serving.layout import Place
from tff_pipeline.serving.refusal import Refusal
from tff_pipeline.serving.tensor_spec import Kind, TensorSpec
from tff_pipeline.serving.writing import Writing

Array = npt.NDArray[Any]

DEFAULT_SIGNATURE = "serving_default"
_CARD = os.path.join("assets.extra", "model_card.json")
_CARD_BYTES = 10_000_000


class Signature:
    """Calls one function of the model: named arrays in, named arrays out.

    Attributes:
      name: Its name.
      inputs: A TensorSpec for each input by name.
      outputs: A TensorSpec for each output by name.
      batches: Whether rows of several requests may share a call.
      columns: The input's name by the name that its column has in the user's
        data, for inputs that are columns of a table.
      fields: What each column usually holds, in the table's order; empty for
        other models.
    """

    def __init__(self, name: str, definition: Any, session: Any):
        """Prepares the call.

        Args:
          name: The signature's name.
          definition: Its SignatureDef.
          session: The session that holds the graph.
        """
        self.name = name
        self.inputs = _specs(definition.inputs)
        self.outputs = _specs(definition.outputs)
        self.columns: Mapping[str, str] = {}
        self.fields: Sequence[Field] = ()
        # Whether rows of several requests may go through one call. They may
        # where every input and output has rows of one size, known beforehand:
        # a row whose size is not known may have been padded to the longest of
        # its batch, and its answer would tell of its neighbours.
        outputs = self.outputs.values()
        self.batches = all(
            spec.shape and spec.shape[0] is None
            for spec in (*self.inputs.values(), *outputs)
        ) and all(None not in (spec.shape or ())[1:] for spec in outputs)
        fetched = [definition.outputs[name].name for name in self.outputs]
        fed = [definition.inputs[name].name for name in self.inputs]
        self._call = None
        if all(fetched) and all(fed):
            self._call = session.make_callable(fetched, fed)

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the function.

        Args:
          arrays: An array for each of `inputs`, by name.

        Returns:
          An array for each of `outputs`, by name.

        Raises:
          Refusal: If the model cannot work with these values.
        """
        if self._call is None:
            raise Refusal(
                400,
                f"The signature {self.name!r} has sparse or composite tensors, "
                "which this server cannot feed; TensorFlow Serving can.",
            )
        try:
            results = self._call(*[arrays[name] for name in self.inputs])
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.OutOfRangeError,
            tf.errors.UnimplementedError,
            tf.errors.FailedPreconditionError,
        ) as error:
            raise Refusal(
                400, f"The model refused these inputs: {_first_line(error)}"
            ) from error
        except tf.errors.ResourceExhaustedError as error:
            raise Refusal(
                503,
                "There is not enough memory for this request; send fewer rows "
                "at once.",
            ) from error
        return dict(zip(self.outputs, map(np.asarray, results)))

    def warm_up(self) -> None:
        """Makes TensorFlow optimise the graph now and not at the first request.

        A model may refuse the zeros that it is called with, which says nothing.
        """
        arrays = {}
        for name, spec in self.inputs.items():
            shape = [1 if size is None else size for size in spec.shape or ()]
            if spec.kind is Kind.STRING:
                arrays[name] = np.full(shape, b"", object)
            elif spec.kind is not Kind.NONE:
                arrays[name] = np.zeros(shape, spec.numpy)
            else:
                return
        with contextlib.suppress(Refusal, tf.errors.OpError):
            self(arrays)


@dataclasses.dataclass(frozen=True)
class Model:
    """Holds a loaded model.

    Attributes:
      place: The folder that it came from; its name and version in URLs.
      signatures: Its functions by name.
      definitions: The same as JSON, in the form of TensorFlow Serving's
        metadata.
      card: The content of assets.extra/model_card.json, or an empty object.
      writing: How it is asked to write; `None` if it does not.
    """

    place: Place
    signatures: Mapping[str, Signature]
    definitions: Mapping[str, Any]
    card: Mapping[str, Any]
    writing: Optional[Writing] = None


def load(place: Place) -> Model:
    """Loads a SavedModel.

    Args:
      place: Its folder, name and version.

    Raises:
      DataError: If it is damaged, or has no signature to ask.
    """
    graph = tf.Graph()
    with graph.as_default():
        # No pool for operations that could run side by side: handing one over
        # costs more than most operations of models of this size.
        session = tf.compat.v1.Session(
            graph=graph,
            config=tf.compat.v1.ConfigProto(inter_op_parallelism_threads=-1),
        )
        try:
            loaded = tf.compat.v1.saved_model.load(
                session, [tf.saved_model.SERVING], place.folder
            )
            definitions = {
                name: definition
                for name, definition in sorted(loaded.signature_def.items())
                if not name.startswith("__")
            }
            signatures = {
                name: Signature(name, definition, session)
                for name, definition in definitions.items()
            }
        except (
            tf.errors.OpError,
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
        ) as error:
            raise errors.DataError(
                f"--model: {place.folder} cannot be loaded "
                f"({_first_line(error)}); export it again with "
                "scripts/export.py."
            ) from error
    if not signatures:
        raise errors.DataError(
            f"--model: {place.folder} has no signature to ask; export it with "
            "scripts/export.py, or with tf.saved_model.save(..., signatures=)."
        )
    card = _read_card(place.folder)
    for signature in signatures.values():
        signature.columns = _columns(card, signature)
        signature.fields = form_card.read(card, signature.inputs)
    return Model(
        place,
        signatures,
        {name: _as_json(each) for name, each in definitions.items()},
        card,
        writing.read(place.folder, signatures),
    )


def _columns(card: Mapping[str, Any], signature: Signature) -> dict[str, str]:
    """Returns the input by its column's own name, as the model card has it."""
    names = card.get("column_names")
    if not isinstance(names, dict) or names.keys() != signature.inputs.keys():
        return {}
    columns = {own: name for name, own in names.items() if type(own) is str}
    return columns if len(columns) == len(names) else {}


def _specs(tensors: Mapping[str, Any]) -> dict[str, TensorSpec]:
    specs = {}
    # A SavedModel keeps no order of its tensors.
    for name, info in sorted(tensors.items()):
        shape = tf.TensorShape(info.tensor_shape)
        sizes = None if shape.rank is None else tuple(shape.as_list())
        specs[name] = _spec(name, tf.dtypes.as_dtype(info.dtype), sizes)
    return specs


def _spec(
    name: str, dtype: tf.DType, shape: Optional[tuple[Optional[int], ...]]
) -> TensorSpec:
    if dtype == tf.string:
        return TensorSpec(name, "string", shape, Kind.STRING)
    if dtype.is_floating:
        kind = Kind.FLOAT
    elif dtype.is_integer and not dtype.is_quantized:
        kind = Kind.INTEGER
    elif dtype.is_bool:
        kind = Kind.BOOL
    else:
        return TensorSpec(name, dtype.name, shape, Kind.NONE)
    spec = TensorSpec(name, dtype.name, shape, kind, dtype.as_numpy_dtype)
    if kind is Kind.INTEGER:
        return dataclasses.replace(
            spec, low=int(dtype.min), high=int(dtype.max)
        )
    return spec


def _as_json(definition: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        definition,
        preserving_proto_field_name=True,
        including_default_value_fields=True,
    )


def _read_card(folder: str) -> dict[str, Any]:
    """Reads the model card; a bad one counts as empty, with a warning."""
    path = os.path.join(folder, _CARD)
    try:
        with open(path, encoding="utf-8") as file:
            card = json.loads(file.read(_CARD_BYTES))
        if not isinstance(card, dict):
            raise ValueError("it is not an object")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        # The model can be tried without it.
        print(
            f"warning: {path} is passed over, for it cannot be read ({error}).",
            file=sys.stderr,
        )
        return {}
    return card


def _first_line(error: Exception) -> str:
    text = getattr(error, "message", None) or str(error)
    return text.strip().split("\n")[0][:300] or type(error).__name__
