"""The errors users see, by whose turn it is to act."""


class SgpoError(Exception):
    """An error with one line for the user: where, what is wrong with the value found, what to do."""

    exit_code = 1


class RecipeError(SgpoError):
    """A recipe, a flag or a template asks for what can not be done: edit it."""


class SchemaError(SgpoError):
    """Rows are of the wrong kind for the table they are meant for."""


class DatasetError(SgpoError):
    """A dataset, a source or a model folder is missing, incomplete or in use."""


class EngineError(SgpoError):
    """An engine can not go on; a single bad request is a result, not an error."""


class MissingExtraError(SgpoError):
    """A part of the toolkit that is installed on request is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'sgpo-data[{extra}]'")
        self.extra = extra
        self.package = package

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        """It may come from another process."""
        return type(self), (self.extra, self.package)


class GateError(SgpoError):
    """A check the user asked for found something: nothing is broken but the data."""

    exit_code = 3


class HubError(SgpoError):
    """The Hub, a server or the network failed: worth trying again."""

    exit_code = 4


class UsageError(SgpoError):
    """A command line that can not be meant."""

    exit_code = 2
