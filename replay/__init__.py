"""Strategies, the period loop, metrics and reports; `perennial.replay(...)` replays a log."""

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package that is called like the function of its name.

    Python sets `perennial.replay` to this package as soon as anything in it is imported.
    """

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call `perennial.replay.python.run.replay`."""
        return self._function(*arguments, **settings)

    @property
    def __signature__(self) -> inspect.Signature:
        """Parameters of the function, which notebooks show."""
        return inspect.signature(self._function)

    @property
    def _function(self) -> Any:
        return import_module(f"{self.__name__}.python.run").replay


sys.modules[__name__].__class__ = CallablePackage
