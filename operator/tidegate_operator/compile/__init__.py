"""The compiler: World in, snapshot and verdicts out. Pure: no I/O, no clock, no kopf, no randomness."""

from tidegate_operator.compile.compiled import Compiled, CompileError, EncodedShard, Served
from tidegate_operator.compile.compiler import compile_world
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.publication import make_bundle, make_index

__all__ = ["CompileError", "Compiled", "EncodedShard", "Memo", "Served", "compile_world", "make_bundle", "make_index"]
