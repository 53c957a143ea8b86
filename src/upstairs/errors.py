"""What can go wrong on the user's side, said in one sentence.

    ValueError
    └── UpstairsError      bad input: names the column, argument or row, and what to do
    UserWarning
    └── UpstairsWarning    the input is odd, yet there is a sensible way to go on

The command line prints an `UpstairsError` as it is and exits with 2; any other exception is a bug of ours and keeps its
traceback.
"""

__all__ = ["UpstairsError", "UpstairsWarning"]


class UpstairsError(ValueError):
    """The input can't be used; the message names what is wrong and what to do about it."""


class UpstairsWarning(UserWarning):
    """The input is odd; the message says what was done instead."""
