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
    question = tools.init_question()
    path, output = question.path, question.output
    # Here and not above: a mistyped flag is answered at once.
    from tff_pipeline.commands import first_look, init

    templates = init.paths_beside(output) if question.templates else ()
    init.refuse_to_replace((output, *templates), question.overwrite)
    init.refuse_no_table(path)
    found = first_look.look(path, **question.guesses)
    stem = os.path.splitext(os.path.basename(output))[0]
    text = init.flagfile(
        found,
        os.path.join("runs", stem),
        as_typed("init"),
        templates,
    )
    durable.write_text(output, text)
    for name, blank in zip(templates, init.templates(found)):
        durable.write_text(name, blank)
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
    if templates:
        print(f"\nTo be filled in for a private run: {', '.join(templates)}")
    print(
        f"\nRead and change {output}, then:\n"
        f"  {as_typed('inspect-data')} --flagfile={output}\n"
        f"  {as_typed('train')} --flagfile={output}"
    )
