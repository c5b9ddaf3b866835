"""Defines what a client is told when a request is not answered."""


class Refusal(Exception):
    """Carries an HTTP status and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str):
        """Makes a refusal.

        Args:
          status: 4xx where the client can mend it, 5xx where not.
          sentence: The reason, and what to do.
        """
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Gone(Exception):
    """Says that the client has left; there is nobody to tell anything."""

    # What nginx counts such requests as.
    status = 499
