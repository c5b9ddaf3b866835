"""Looks at a table, and guesses client, label and type of task.

What is found holds names of columns and counts, never a cell.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np

from tff_pipeline import errors
from tff_pipeline.datasets.readers import column_guard, table_files
from tff_pipeline.datasets.readers.column import Column
from tff_pipeline.datasets.readers.column_guard import ColumnUse
from tff_pipeline.datasets.readers.table import FILE_NAME, Table

# Words that name a column of clients, and of labels, the likelier first.
_CLIENT_WORDS = (
    *("client", "hospital", "clinic", "site", "center", "centre", "silo"),
    *("institution", "institute", "ward", "department", "practice", "lab"),
    *("user", "customer", "patient", "subject", "participant", "person"),
    *("device", "sensor", "machine", "phone", "meter", "vehicle", "owner"),
    *("bank", "branch", "store", "shop", "school", "company", "tenant"),
    *("writer", "author", "speaker", "account", "household", "region"),
    *("country", "state", "city", "location", "provider", "group"),
)
_LABEL_WORDS = (
    *("label", "labels", "target", "class", "outcome", "y", "response"),
    *("diagnosis", "disease", "diseased", "sick", "ill", "positive"),
    *("readmitted", "died", "death", "deceased", "mortality", "survived"),
    *("default", "churn", "churned", "fraud", "risk", "approved", "bought"),
    *("species", "quality", "category", "income", "salary", "price"),
    *("creditability", "rating", "grade", "score", "result", "num"),
)
_SPLITS = {"train", "test"}
# Words with which the names of a table's parts begin.
_PART_WORDS = frozenset(
    ("part", "parts", "chunk", "data", "table", "file", "rows", "shard", "page")
)
# Whole numbers with more different values are quantities, not classes.
_MOST_CLASSES = 20
_ROWS_OF_A_CLIENT = 2  # On average, at least.
_FEWEST_CODES, _MOST_CODES = 3, 12


@dataclasses.dataclass(frozen=True)
class ColumnLook:
    """A column as it was found.

    Attributes:
      name: Its name.
      kind: "numbers", "whole numbers", "text", "empty" or "other".
      distinct: The number of different cells, without missing ones.
      missing: The share of missing cells, 0 to 1.
      use: What a run makes of it, unless flags say otherwise.
    """

    name: str
    kind: str
    distinct: int
    missing: float
    use: ColumnUse


@dataclasses.dataclass(frozen=True)
class FirstLook:
    """A table, and what its columns seem to be.

    Attributes:
      path: The table's file or folder.
      rows: The number of rows.
      columns: All columns that have a name, in the file's order.
      client: The column that names clients, or `FILE_NAME` if each file may be
        a client's; `None` if none seems to.
      clients: How many clients it names; 0 without one.
      label: The column to predict.
      task_type: "classification" or "regression".
      split: The column that says train or test in each row, or `FILE_NAME` if
        the files do; `None` if none does.
    """

    path: str
    rows: int
    columns: Sequence[ColumnLook]
    client: Optional[str]
    clients: int
    label: str
    task_type: str
    split: Optional[str] = None

    def named(self, name: str) -> ColumnLook:
        """Returns the column of a name."""
        return next(each for each in self.columns if each.name == name)

    def features(self) -> list[ColumnLook]:
        """Lists the columns that flags give no other part to play."""
        parts = (self.client, self.label, self.split, FILE_NAME)
        return [each for each in self.columns if each.name not in parts]

    def codes(self) -> list[str]:
        """Lists columns whose few whole numbers may be codes of categories."""
        return [
            each.name
            for each in self.features()
            if each.use.is_input
            and each.kind == "whole numbers"
            and _FEWEST_CODES <= each.distinct <= _MOST_CODES
        ]


def look(
    path: str,
    *,
    client: Optional[str] = None,
    label: Optional[str] = None,
    task_type: Optional[str] = None,
) -> FirstLook:
    """Looks at a table.

    Args:
      path: A table's file, or a folder of parts of one.
      client: The column of clients, if it need not be guessed.
      label: The column to predict, likewise.
      task_type: "classification" or "regression", likewise.

    Returns:
      What was found and guessed.

    Raises:
      DataError: If the table cannot be read, lacks a column that is named, or
        has none that could be a label.
    """
    table = Table(path)
    for name, flag in ((client, "client_column"), (label, "label_column")):
        if name is not None:
            table.require(name, flag)
    named = {client, label}
    names = [name for name in table.names if name]
    names += [FILE_NAME] if FILE_NAME in named - {*names} else []
    rows = table.load(names)
    # Training leaves out what holds neither numbers nor text.
    read = {
        name: table.take(name, strict=False)
        for name in names
        if name in named or table.is_readable(name)
    }
    columns = [
        _looked_at(read[name]) if name in read else _unreadable(name)
        for name in names
    ]
    found = {each.name: each for each in columns}
    split = _guess_split(
        table, [column for name, column in read.items() if name not in named]
    )
    others = [each for each in columns if each.name != split]
    if client is None:
        client = _guess_client(others, rows, label)
    if label is None:
        label = _guess_label(others, rows, client)
        if label is None:
            raise errors.DataError(
                f"{path} has no column that could be a label: only "
                f"{', '.join(names)}; name it by --label_column."
            )
    clients = found[client].distinct if client is not None else 0
    if client is None and split != FILE_NAME and _are_of_clients(table.files):
        client, clients = FILE_NAME, len(table.files)
    if task_type is None:
        task_type = _guess_type(found[label])
    return FirstLook(
        path, rows, columns, client, clients, label, task_type, split
    )


def _guess_split(table: Table, columns: Sequence[Column]) -> Optional[str]:
    """Finds the column, or the files' names, that say train and test."""
    for column in columns:
        cells = {cell.lower() for cell in column.categories or ()}
        if cells == _SPLITS and not column.missing.any():
            return column.name
    return FILE_NAME if _names_of(table.files) >= _SPLITS else None


def _are_of_clients(files: Sequence[str]) -> bool:
    """Tells whether files may be a client's each, and not parts of a table."""
    words = [column_guard.words_of(name) for name in _names_of(files)]
    return len(files) > 1 and not any(
        not each or each[0].isdigit() or each[0] in _PART_WORDS
        for each in words
    )


def _names_of(files: Sequence[str]) -> set[str]:
    return {table_files.file_name(file).lower() for file in files}


def _looked_at(column: Column) -> ColumnLook:
    cells = column.values[~column.missing]
    if not len(cells):
        kind = "empty"
    elif column.categories is not None:
        kind = "text"
    elif (cells == np.round(cells)).all():
        kind = "whole numbers"
    else:
        kind = "numbers"
    use = column_guard.judge(column, np.arange(len(column.values)), False)
    return ColumnLook(
        column.name,
        kind,
        len(np.unique(cells)),
        float(np.mean(column.missing)),
        use,
    )


def _unreadable(name: str) -> ColumnLook:
    """Takes a column of lists or bytes, which nothing is made of."""
    return ColumnLook(name, "other", 0, 0.0, column_guard.unreadable(name))


def _by_words(
    columns: Sequence[ColumnLook], words: Sequence[str]
) -> Iterator[ColumnLook]:
    """Yields columns whose name has one of the words, the best first."""
    ranked = []
    for place, column in enumerate(columns):
        own = column_guard.words_of(column.name)
        hits = [words.index(word) for word in own if word in words]
        if hits:
            # Names of one word first, "client_id" as well as "client".
            others = [word for word in own if word not in (*words, "id")]
            ranked.append((len(others), min(hits), place))
    for _, _, place in sorted(ranked):
        yield columns[place]


def _guess_client(
    columns: Sequence[ColumnLook], rows: int, label: Optional[str]
) -> Optional[str]:
    for column in _by_words(columns, _CLIENT_WORDS):
        if (
            column.name != label
            and column.kind in ("text", "whole numbers")
            and not column.missing
            and 2 <= column.distinct <= rows / _ROWS_OF_A_CLIENT
        ):
            return column.name
    return None


def _guess_label(
    columns: Sequence[ColumnLook], rows: int, client: Optional[str]
) -> Optional[str]:
    """Guesses by name; else takes the last column, as most files have it."""
    possible = [
        column
        for column in columns
        if column.name != client
        and column.distinct >= 2
        and not (column.kind == "text" and column.distinct > rows / 5)
    ]
    named = next(_by_words(possible, _LABEL_WORDS), None)
    if named is None and possible:
        named = possible[-1]
    return None if named is None else named.name


def _guess_type(label: ColumnLook) -> str:
    few = label.distinct == 2 or (
        label.kind == "whole numbers" and label.distinct <= _MOST_CLASSES
    )
    return "classification" if label.kind == "text" or few else "regression"
