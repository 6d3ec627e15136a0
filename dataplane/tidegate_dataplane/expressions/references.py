"""Static checks of an expression, and which members of which variables it reads.

Every access to `request`, `consumer` and `route` must name the member on the spot (`request.model`,
`request['model']`): so the check is exact, and an evaluation prepares only what is read. Each such access becomes a
variable of its own (`request__model`), because handing a map to the CEL library costs microseconds, a string almost
nothing.
"""

from difflib import get_close_matches
from typing import NamedTuple

from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.expressions.environment import CLOCK, FUNCTIONS, MACROS, MAPS, NOW, ROOTS, SAMPLES, TYPES
from tidegate_dataplane.expressions.errors import ExpressionError
from tidegate_dataplane.expressions.tokens import Kind, Token, tokenize

_END = Token(Kind.SIGN, "", -1, -1)
_OPENERS = frozenset({"", "(", "[", ",", "?", ":", "&&", "||"})
_LITERAL_CHECKED = {"timestamp", "duration", "matches"}


class Read(NamedTuple):
    """A member that is read. `keys` are the literal keys of a map, None: it is no map, or all of it is read."""

    root: str
    member: str
    flat: str
    keys: frozenset[str] | None


class References(NamedTuple):
    """What an expression reads and calls, its text with flat variables, and literals to be tried on their own."""

    reads: tuple[Read, ...]
    zoned: frozenset[str]
    text: str
    literals: tuple[str, ...]


def find_references(text: str) -> References:
    """Check names, members and functions; raises ExpressionError."""
    return _Checker(text).run()


class _Checker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.members: dict[tuple[str, str], set[str] | None] = {}
        self.zoned: set[str] = set()
        self.literals: list[str] = []
        self.edits: list[tuple[int, int, str]] = []
        self.depth = 0
        self.scopes: list[tuple[int, str]] = []

    def run(self) -> References:
        for place, token in enumerate(self.tokens):
            if token.kind is Kind.NAME:
                self._name(place, token)
            elif token.text in ("(", "[", "{"):
                self.depth += 1
            elif token.text in (")", "]", "}"):
                self.depth -= 1
                while self.scopes and self.scopes[-1][0] > self.depth:
                    self.scopes.pop()
        reads = tuple(
            Read(root, member, _flat(root, member), None if keys is None else frozenset(keys))
            for (root, member), keys in sorted(self.members.items(), key=lambda item: item[0])
        )
        return References(reads, frozenset(self.zoned), self._rewritten(), tuple(self.literals))

    def _at(self, place: int) -> Token:
        return self.tokens[place] if 0 <= place < len(self.tokens) else _END

    def _name(self, place: int, token: Token) -> None:
        selected = self._at(place - 1).text == "."
        if self._at(place + 1).text == "(":
            self._call(place, token.text, selected=selected)
        elif not selected:
            self._variable(place, token)

    def _call(self, place: int, name: str, *, selected: bool) -> None:
        if name not in FUNCTIONS or (name in MACROS | CLOCK and not selected):
            raise ExpressionError(f"there is no function {name!r}{_suggest(name, FUNCTIONS)}")
        if name in MACROS and self._at(place + 3).text == ",":
            self._bind(place, name)
        if name in CLOCK and self._at(place + 2).text != ")":
            self._zone(place, name)
        argument = self._at(place + 2)
        if name in _LITERAL_CHECKED and argument.kind is Kind.STRING and self._at(place + 3).text == ")":
            self.literals.append(f"''.matches({argument.text})" if name == "matches" else f"{name}({argument.text})")

    def _bind(self, place: int, macro: str) -> None:
        name = self._at(place + 2).text
        if self.scopes:
            # The work would multiply, and an expression of one tenant runs in the gateway of all.
            raise ExpressionError(f"{macro}() stands inside another macro; use 'in' or one macro only")
        if name in ROOTS or name in TYPES or "__" in name:
            raise ExpressionError(f"{macro}() names its variable {name!r}, which has a meaning already; choose another")
        self.scopes.append((self.depth + 1, name))

    def _zone(self, place: int, name: str) -> None:
        zone = self._at(place + 2)
        if zone.value is None or self._at(place + 3).text != ")":
            raise ExpressionError(f"{name}() takes a time zone in quotes, e.g. {name}('Europe/Berlin')")
        try:
            time_zone(zone.value)
        except ValueError as error:
            raise ExpressionError(f"{name}(): {error}") from error
        self.zoned.add(name)

    def _variable(self, place: int, token: Token) -> None:
        name = token.text
        if any(name == bound for _, bound in self.scopes):
            return
        if name == NOW:
            self.members[NOW, ""] = None
        elif name in ROOTS:
            self._member(place, token)
        elif name not in TYPES:
            raise ExpressionError(f"there is no variable {name!r}{_suggest(name, ROOTS)}")

    def _member(self, place: int, token: Token) -> None:
        root = token.text
        dot, name, after = self._at(place + 1), self._at(place + 2), place + 3
        if dot.text == "." and name.kind is Kind.NAME and self._at(after).text != "(":
            member = name.text
        elif dot.text == "[" and name.value is not None and self._at(after).text == "]":
            member, after = name.value, after + 1
        else:
            raise ExpressionError(f"write which member of {root!r} is meant: {_listing(root)}")
        if member not in SAMPLES[root]:
            raise ExpressionError(f"{root!r} has no member {member!r}{_suggest(member, SAMPLES[root], prefix=root)}")
        if (root, member) in MAPS:
            self._map(place, after, root, member)
        else:
            self.members[root, member] = None
        if self._at(place - 2).text == "has" and self._at(place - 1).text == "(" and self._at(after).text == ")":
            # Declared members are always present, and has() would not take a flat variable.
            self.edits.append((self._at(place - 2).start, self._at(after).end, "true"))
        else:
            self.edits.append((token.start, self._at(after - 1).end, _flat(root, member)))

    def _map(self, place: int, after: int, root: str, member: str) -> None:
        key = self._key(place, after)
        if key is None:
            self.members[root, member] = None
            return
        if member == "headers" and key != key.lower():
            raise ExpressionError(f"names of request.headers are in lower case: write {key.lower()!r}, not {key!r}")
        known = self.members.setdefault((root, member), set())
        if known is not None:
            known.add(key)

    def _key(self, place: int, after: int) -> str | None:
        """The literal key that is looked up in the map that ends before `after`, if it can be told."""
        sign, key, end = self._at(after), self._at(after + 1), self._at(after + 2)
        if sign.text == "." and key.kind is Kind.NAME and end.text != "(":
            return key.text
        if sign.text == "[":
            return key.value if end.text == "]" else None
        if sign.text != "." and self._at(place - 1).text == "in" and self._at(place - 3).text in _OPENERS:
            return self._at(place - 2).value
        return None

    def _rewritten(self) -> str:
        parts: list[str] = []
        place = 0
        for start, end, replacement in sorted(self.edits):
            parts += (self.text[place:start], replacement)
            place = end
        return "".join((*parts, self.text[place:]))


def _flat(root: str, member: str) -> str:
    return f"{root}__{member}" if member else root


def _listing(root: str) -> str:
    return ", ".join(f"{root}.{member}" for member in SAMPLES[root])


def _suggest(name: str, known: frozenset[str] | dict[str, object], *, prefix: str = "") -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.5) or [
        one for one in known if one.lower() == name.replace("_", "").lower()
    ]
    qualified = [f"{prefix}.{one}" if prefix else one for one in (close or sorted(known))]
    return f"; did you mean {qualified[0]!r}?" if close else f"; there are {', '.join(qualified)}"
