"""What every open file of ours has in common: the block of a `with` statement ends in `close()`."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Something that is open, and is closed at the end of a `with` block."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; allowed more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
