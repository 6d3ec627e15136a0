"""What may go wrong with an expression."""


class ExpressionError(ValueError):
    """The expression can never be used; the message says what is wrong and what would be right."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class EvaluationError(Exception):
    """The expression has no truth value for this call: a missing map key, unlike types, or not a bool."""
