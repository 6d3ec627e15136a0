"""Deciding about calls: pure functions of a Runtime, a Call and the time."""

from tidegate_dataplane.engine.call import Call
from tidegate_dataplane.engine.catalogue import visible_models
from tidegate_dataplane.engine.decide import decide
from tidegate_dataplane.engine.decision import Decision, Denial, Step, Verdict
from tidegate_dataplane.engine.denials import limit_exceeded
from tidegate_dataplane.engine.explain import Explanation, explain
from tidegate_dataplane.engine.path import LISTING, listed_model, parse_path
from tidegate_dataplane.engine.targets import attempts

__all__ = [
    "LISTING",
    "Call",
    "Decision",
    "Denial",
    "Explanation",
    "Step",
    "Verdict",
    "attempts",
    "decide",
    "explain",
    "limit_exceeded",
    "listed_model",
    "parse_path",
    "visible_models",
]
