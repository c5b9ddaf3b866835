"""Writes a table, arrays, images or JSON lines as clients for --task=sqlite.

python scripts/prepare_data.py --input=photos --output=photos.sqlite
python scripts/prepare_data.py --input=patients.csv --output=patients.sqlite \\
    --client_column=hospital --label_column=outcome

--input is a table (.csv, .tsv, either also in .gz, or .parquet) or a folder of
such files; an .npz of x, y and client_id; a folder CLIENT/CLASS/*.png or *.jpg;
or a .jsonl (also .gz) of objects with client_id, x and y. The file that comes
out is of TFF's format; clients are read from it when they take part.
"""

from tff_pipeline.flags import parsing, tools

tools.define_prepare_flags()


def main() -> None:
    source, output, options, image_size = tools.prepare_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import prepare_data

    examples, clients = prepare_data.write(source, output, options, image_size)
    task_type = options.get("task_type", "classification")
    print(
        f"{output}: {examples} examples of {clients} clients. Next:\n"
        f"  python scripts/train.py --task=sqlite --data_dir={output} "
        f"--task_type={task_type} --output_dir=runs/own"
    )


if __name__ == "__main__":
    parsing.run(main)
