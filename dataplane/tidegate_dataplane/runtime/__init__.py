"""The Runtime: a snapshot compiled for deciding. Immutable, and swapped as a whole."""

from tidegate_dataplane.runtime.build import EMPTY, Runtime, build
from tidegate_dataplane.runtime.build_error import BuildError
from tidegate_dataplane.runtime.objects import Backend, Consumer, Route, RuleRef, Target

__all__ = ["EMPTY", "Backend", "BuildError", "Consumer", "Route", "RuleRef", "Runtime", "Target", "build"]
