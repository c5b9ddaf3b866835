"""The same work on this pipeline, on TFF as shipped, and on its peers."""
