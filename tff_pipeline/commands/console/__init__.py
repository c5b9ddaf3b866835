"""The commands of `tff-pipeline`, a module each; see `commands.main`."""
