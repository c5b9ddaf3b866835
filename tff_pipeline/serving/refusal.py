"""Defines what a client is told when a request is not answered."""

from typing import Optional


class Refusal(Exception):
    """Carries an HTTP status and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str, name: Optional[str] = None):
        """Makes a refusal.

        Args:
          status: 4xx where the client can mend it, 5xx where not.
          sentence: The reason, and what to do.
          name: The input whose value is the reason, if it is one.
        """
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.input = name


class Gone(Exception):
    """Says that the client has left; there is nobody to tell anything."""

    # What nginx counts such requests as.
    status = 499
