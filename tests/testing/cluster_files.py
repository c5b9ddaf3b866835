"""Keys, certificates and tokens: a cluster's, another's, and of bad days."""

import datetime
import pathlib

from tff_pipeline.runtime.ray import certificates

HOST = "127.0.0.1"


class Lab:
    """Files of a cluster, of another one, and of bad days."""

    def __init__(self, folder):
        def made(name, host=HOST, days=1):
            return certificates.make(str(folder / name), [host], days)[host]

        self.own = made("own")
        self.stranger = made("stranger")
        self.named = made("own", "10.0.0.9")
        self.token = pathlib.Path(self.own, "token").read_text()
        before = datetime.datetime.now(
            datetime.timezone.utc
        ) - datetime.timedelta(days=2)
        self.expired = certificates.make(
            str(folder / "own"), ["localhost"], 1, before
        )["localhost"]
