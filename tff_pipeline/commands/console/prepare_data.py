r"""Writes a table, arrays, images or JSON lines as clients for --task=sqlite.

python scripts/prepare_data.py --input=photos --output=photos.sqlite
python scripts/prepare_data.py --input=patients.csv --output=patients.sqlite \
    --client_column=hospital --label_column=outcome

--input is a table (.csv, .tsv, either also in .gz, or .parquet) or a folder of
such files; an .npz of x, y and client_id; a folder CLIENT/CLASS/*.png (*.jpg,
*.tif, ...), with train/ and test/ above where there are such; a .jsonl or .json
(also .gz) of objects with client_id, x and y; or LEAF's .json of users, or the
folder of its train/ and test/. The file that comes out is of TFF's
format; clients are read from it when they take part.
"""

from tff_pipeline.commands.main import as_typed
from tff_pipeline.flags import tools


def define_flags() -> None:
    """Defines the flags of this command."""
    tools.define_prepare_flags()


def main() -> None:
    """Writes the SQLite file and prints how to train on it."""
    source, output, options, images = tools.prepare_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import prepare_data

    examples, clients = prepare_data.write(source, output, options, *images)
    task_type = options.get("task_type", "classification")
    print(
        f"{output}: {examples} examples of {clients} clients. Next:\n"
        f"  {as_typed('train')} --task=sqlite --data_dir={output} "
        f"--task_type={task_type} --output_dir=runs/own"
    )
