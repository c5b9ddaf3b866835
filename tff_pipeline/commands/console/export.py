r"""Exports a saved round for others to serve.

python scripts/export.py --run_dir=runs/quickstart --output=model
python scripts/export.py --run_dir=runs/quickstart --output=models/digits \
    --version=1
python scripts/export.py --run_dir=runs/quickstart --output=exports \
    --format=saved_model,keras,tflite,tflite_int8,onnx,tfjs
python scripts/export.py --run_dir=runs/mine --output=mine --format=huggingface
"""

from tff_pipeline.commands.main import as_typed
from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_run_dir_flags()
    runs.define_export_flags()


def main() -> None:
    """Exports the round in every format and prints where."""
    run_dir, round_number, data_dir = runs.run_dir()
    question = runs.export_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import saved_runs

    number, paths = saved_runs.export(
        run_dir, round_number=round_number, data_dir=data_dir, **question
    )
    print(f"Round {number}:")
    for kind, path in zip(question["formats"], paths):
        print(f"  {kind:<20} {path}")
    print("\nNext:")
    if question["formats"][0] == "huggingface":
        print(f"  {as_typed('generate')} --init_from={paths[0]} --prompt=The")
        return
    print(f"  {as_typed('check-export')} --model={paths[0]}")
    if question["formats"][0] == "saved_model":
        print(f"  saved_model_cli show --all --dir={paths[0]}")
