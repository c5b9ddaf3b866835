"""The words with which people name the parts of their data."""

# For rows, files and folders to choose on.
VALIDATION = ("validation", "valid", "val", "dev")
# A name in small letters -> the split that it means.
SPLITS = {
    "train": "train",
    "test": "test",
    **dict.fromkeys(VALIDATION, "validation"),
}
