"""What runs beside a test: started by `async with`, and closed whatever happens, also when it does not start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Started(ABC):
    """Use as an async context manager, or call `start` and `close`."""

    @abstractmethod
    async def start(self) -> None:
        """Returns when it is ready."""

    @abstractmethod
    async def close(self) -> None:
        """Stop it and leave nothing behind; also when it never started."""

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
