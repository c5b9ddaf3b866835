"""Looks at a table, and writes a flagfile for it, to read and to change.

python scripts/init.py data.csv
python scripts/init.py --data_dir=data.csv --label_column=sick

Guesses which column names clients, which is to be predicted and whether it is
a class or a number; what a flag says is not guessed. Trains nothing.
"""

import os

from tff_pipeline.commands.main import as_typed
from tff_pipeline.files import durable
from tff_pipeline.flags import tools

# The flag that a first argument without a name stands for.
FIRST_ARGUMENT = "data_dir"


def define_flags() -> None:
    """Defines the flags of this command."""
    tools.define_init_flags()


def main() -> None:
    """Writes the flagfile, and prints what was guessed and what is next."""
    path, output, guesses = tools.init_question()
    # Here and not above: a mistyped flag is answered at once.
    from tff_pipeline.commands import first_look, init

    init.refuse_no_table(path)
    found = first_look.look(path, **guesses)
    stem = os.path.splitext(os.path.basename(output))[0]
    text = init.flagfile(found, os.path.join("runs", stem), as_typed("init"))
    durable.write_text(output, text)
    label = found.named(found.label)
    print(f"{path}: {found.rows:,} rows, {len(found.columns)} columns")
    values = "classes" if found.task_type == "classification" else "values"
    print(
        f"  label   {found.label}: {found.task_type}, {label.distinct:,} "
        f"{values}"
    )
    if found.client is None:
        print("  client  no column seems to name one; equal parts are made")
    else:
        print(f"  client  {found.client}: {found.clients:,} clients")
    print(
        f"\nRead and change {output}, then:\n"
        f"  {as_typed('inspect-data')} --flagfile={output}\n"
        f"  {as_typed('train')} --flagfile={output}"
    )
