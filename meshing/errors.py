"""The two ways a stage can refuse: the input is wrong, or the computation did not succeed."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, told in one message: file, field, wanted, got, remedy. Exit status 2.

    Attributes:
        wanted: What was expected.
        got: What was found.
        remedy: What the user can do.
        file: The file at fault, if any.
        field: The place in it (YAML key, array name, patch, coordinates), if any.
    """

    def __init__(
        self, *, wanted: str, got: str, remedy: str, file: object = None, field: str | None = None
    ) -> None:
        self.file = None if file is None else str(file)
        self.field, self.wanted, self.got, self.remedy = field, wanted, got, remedy
        super().__init__(self._text())

    def _text(self) -> str:
        where = ", ".join(part for part in (self.file, self.field) if part)
        head = f"{where}: " if where else ""
        return f"{head}wanted {self.wanted}; got {self.got.rstrip('.')}\n  remedy: {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword (exceptions cross process borders)."""
        return (_rebuild, (self.wanted, self.got, self.remedy, self.file, self.field))


def _rebuild(wanted: str, got: str, remedy: str, file: str | None, field: str | None) -> InputError:
    return InputError(wanted=wanted, got=got, remedy=remedy, file=file, field=field)


class ComputationError(RuntimeError):
    """A computation ended without a result that may be used. Exit status 1.

    The message names the numbers, what was saved and where, and what to try.
    """


class BranchEndError(ComputationError):
    """The branch of steady states ends on this mesh above the real viscosity; the solver was asked to stop there."""
