"""Checks that an exported model gives here what it gave when exported.

python scripts/check_export.py --model=model

Loads a SavedModel, .keras, .tflite, .onnx or TensorFlow.js model by what runs
it elsewhere (TensorFlow alone, its interpreter, onnxruntime or Node.js), shows
it the inputs that were stored with it and compares its outputs. Prints the
differences, the time of a call and the size. Exit status 1 if something differs
by more than the tolerance.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_check_flags()


def main() -> int:
    """Prints every difference; returns 1 if one is above the tolerance."""
    path, replay, tolerance = runs.check_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.export import check

    result = check.check(path, replay, tolerance)
    print(f"{path}: {result.kind}, {result.size / 1e6:.2f} MB")
    for name, difference in result.differences.items():
        word = "WRONG" if name in result.failing else "ok   "
        print(f"{word} {name:<40} differs by {difference:.2g}")
    middle, late = result.milliseconds
    print(
        f"tolerance {result.tolerance:g}; one example takes {middle:.2f} ms "
        f"(median), {late:.2f} ms (99th percentile)"
    )
    return 1 if result.failing else 0
