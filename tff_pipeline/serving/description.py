"""Describes the model, for programs and for the page."""

from typing import Any

from tff_pipeline.serving.form import Field
from tff_pipeline.serving.model import DEFAULT_SIGNATURE, Model, Signature
from tff_pipeline.serving.tensor_spec import TensorSpec


def status(model: Model) -> dict[str, Any]:
    """Describes the model's state as GetModelStatusResponse does.

    Args:
      model: The loaded model.
    """
    return {
        "model_version_status": [
            {
                "version": str(model.place.version),
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def metadata(model: Model) -> dict[str, Any]:
    """Describes the signatures as GetModelMetadataResponse does.

    Args:
      model: The loaded model.
    """
    return {
        "model_spec": {
            "name": model.place.name,
            "signature_name": "",
            "version": str(model.place.version),
        },
        "metadata": {"signature_def": {"signature_def": model.definitions}},
    }


def page(model: Model) -> dict[str, Any]:
    """Describes the inputs and outputs from which the page makes its form.

    Of the model card it has `task`, `description`, `classes`, `labels` (the
    names of what is predicted), `pixel_max` (the brightest pixel of an image)
    and what the columns of a table usually hold, where they are what they
    should be. Of a model that writes it says whether that chats.

    Args:
      model: The loaded model.
    """
    card = model.card
    known: dict[str, Any] = {}
    for name in ("task", "description"):
        if isinstance(card.get(name), str):
            known[name] = card[name][:500]
    for name in ("classes", "labels"):
        names = card.get(name)
        if isinstance(names, list) and all(
            isinstance(each, (str, int)) for each in names
        ):
            known[name] = [str(each) for each in names]
    brightest = card.get("pixel_max")
    if isinstance(brightest, (int, float)) and 0 < brightest < 1e6:
        known["pixel_max"] = brightest
    writing: dict[str, Any] = {}
    if model.writing is not None:
        writing["writing"] = {
            "chats": model.writing.chats,
            # A graph that takes text draws from all tokens.
            "top_p": model.writing.language is not None,
        }
    return {
        **writing,
        "name": model.place.name,
        "version": model.place.version,
        "default": DEFAULT_SIGNATURE,
        "card": known,
        "signatures": {
            name: {
                "inputs": _inputs(signature),
                "outputs": [_spec(each) for each in signature.outputs.values()],
            }
            for name, signature in model.signatures.items()
        },
    }


def _inputs(signature: Signature) -> list[dict[str, Any]]:
    if not signature.fields:
        return [_spec(each) for each in signature.inputs.values()]
    return [
        {**_spec(signature.inputs[field.name]), "field": _field(field, place)}
        for place, field in enumerate(signature.fields)
    ]


def _field(field: Field, place: int) -> dict[str, Any]:
    return {
        "title": field.title,
        "kind": field.kind,
        "categories": field.categories,
        "other": field.other,
        "low": field.low,
        "high": field.high,
        "whole": field.whole,
        "unit": field.unit,
        "example": field.example(place),
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}
