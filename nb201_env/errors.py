"""What can go wrong because of what a user asked for. Every message names the value, what was expected, and the fix."""


class NB201Error(ValueError):
    """Base of every error that this project raises on bad input; the command line prints it as one line."""


class InvalidCellError(NB201Error):
    """Something that should name a cell does not."""


class MissingDataError(NB201Error, LookupError):
    """The table does not have what was asked for. Nothing is ever substituted for it."""


class TableFormatError(NB201Error):
    """A file is not a table of this format, is damaged, or is newer than this version of the project."""


class BudgetExhaustedError(NB201Error):
    """A query was made after the budget had ended."""


class UnreachableError(NB201Error):
    """A table at an address cannot be read now: no server, no such file, no permission, or it stopped in the middle."""
