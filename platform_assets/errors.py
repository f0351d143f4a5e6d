"""Every error that Perennial raises on purpose.

    PerennialError
    ├── ConfigurationError      a setting, a defs.yaml or an argument is wrong
    ├── DataError               input data is wrong
    │   ├── SchemaError         a column is missing, unknown or of another type
    │   ├── ContractError       values break a contract
    │   └── EmptyFrameError     no rows where rows are needed
    ├── PointInTimeError        a join was asked for something it cannot answer
    ├── TableError              a table, a version of it or a partition
    │   └── ConcurrentWriteError    somebody else committed first; nothing was written
    ├── FeatureStoreError       Feast: a view, a service, the registry or the online store
    ├── ModelError              training, loading or predicting
    │   └── CorruptModelError   files differ from the hashes in the manifest
    ├── RegistryError           MLflow: runs, versions, aliases
    └── LedgerError             the append-only ledger
        ├── PromotionConflictError  another promoter was first; read again and decide again
        └── DuplicateCauseError     this cause has already fired

A message says what, where, and found against expected; `hint` says what to do.
"""


class PerennialError(Exception):
    """Base of all errors raised on purpose; `hint` is printed after the message."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message if hint is None else f"{message}\n\nhint: {hint}")
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[PerennialError], message: str, hint: str | None) -> PerennialError:
    return kind(message, hint=hint)


class ConfigurationError(PerennialError):
    """A setting, a defs.yaml or an argument is wrong."""


class DataError(PerennialError):
    """Input data is wrong. `file` is where the file at fault lies, once somebody knows it."""

    file: str | None = None


class SchemaError(DataError):
    """A column is missing, unknown or of another type."""


class ContractError(DataError):
    """Values break a contract."""


class EmptyFrameError(DataError):
    """No rows where rows are needed."""


class PointInTimeError(PerennialError):
    """A point-in-time join was asked for something it cannot answer."""


class TableError(PerennialError):
    """A table, a version of it or a partition."""


class ConcurrentWriteError(TableError):
    """Somebody else committed first; nothing was written."""


class FeatureStoreError(PerennialError):
    """Feast: a view, a service, the registry or the online store."""


class ModelError(PerennialError):
    """Training, loading or predicting."""


class CorruptModelError(ModelError):
    """Model files differ from the hashes in the manifest."""


class RegistryError(PerennialError):
    """MLflow: runs, model versions, aliases."""


class LedgerError(PerennialError):
    """The append-only ledger."""


class PromotionConflictError(LedgerError):
    """Another promoter was first; read again and decide again."""


class DuplicateCauseError(LedgerError):
    """This cause has already fired."""
