"""Static checks of an expression, and which members of which variables it reads.

Every access to `request`, `consumer` and the like must name the member on the spot (`request.model`,
`request['model']`): so the check is exact, and an evaluation prepares only what is read. Each such access becomes a
variable of its own (`request__model`), because handing a map to the CEL library costs microseconds, a string almost
nothing.
"""

from difflib import get_close_matches
from typing import NamedTuple

from tidegate_dataplane.expressions import cost
from tidegate_dataplane.expressions.clock import time_zone
from tidegate_dataplane.expressions.environment import (
    CLAIMS,
    CLOCK,
    FUNCTIONS,
    IN_NETWORK,
    LOWER_CASE_KEYS,
    MACROS,
    MAPS,
    NOW,
    RULE_ROOTS,
    SAMPLES,
    TYPES,
)
from tidegate_dataplane.expressions.errors import ExpressionError
from tidegate_dataplane.expressions.networks import network
from tidegate_dataplane.expressions.tokens import Kind, Token, tokenize

_END = Token(Kind.SIGN, "", -1, -1)
_OPENERS = frozenset({"", "(", "[", ",", "?", ":", "&&", "||"})
_LITERAL_CHECKED = {"timestamp", "duration"}
_LITERALS = frozenset({Kind.STRING, Kind.NUMBER, Kind.KEYWORD})
_OPERANDS = frozenset({Kind.NAME, Kind.STRING})
Path = tuple[str, ...]


class Read(NamedTuple):
    """A member that is read. `keys` are the literal keys of a map, None: it is no map, or all of it is read."""

    root: str
    member: str
    flat: str
    keys: frozenset[str] | None


class References(NamedTuple):
    """What an expression reads and calls, its text with flat variables, and literals to be tried on their own.

    `claims` are the claims that it looks up, each with the names on the way into it. `patterns` are the literals of
    `matches` with how often each is used; `cost` is that of all the rest (see cost.py).
    """

    reads: tuple[Read, ...]
    zoned: frozenset[str]
    networks: bool
    text: str
    literals: tuple[str, ...]
    claims: tuple[Path, ...]
    patterns: tuple[tuple[str, int], ...]
    cost: int


def find_references(text: str, roots: frozenset[str]) -> References:
    """Check names, members and functions; raises ExpressionError. `roots` are the variables that may be named."""
    return _Checker(text, roots).run()


class _Checker:
    def __init__(self, text: str, roots: frozenset[str]) -> None:
        self.text = text
        self.roots = roots
        self.tokens = tokenize(text)
        self.members: dict[tuple[str, str], set[str] | None] = {}
        self.zoned: set[str] = set()
        self.networks = False
        self.literals: list[str] = []
        self.claims: set[Path] = set()
        self.patterns: list[tuple[str, int]] = []
        self.cost = 0
        self.joins = 0
        self.macro = ""
        # How many entries a macro may walk over: those of the largest list, or of a literal, or of several added up.
        self.largest = max(cost.MAX_ENTRIES, sum(token.text == "," for token in self.tokens) + 1)
        self.entries = self.largest
        self.edits: list[tuple[int, int, str]] = []
        self.depth = 0
        self.scopes: list[tuple[int, str]] = []

    def run(self) -> References:
        for place, token in enumerate(self.tokens):
            self.cost += self._units(place, token.text) * self._times()
            if token.kind is Kind.NAME:
                self._name(place, token)
            elif token.text in ("(", "[", "{"):
                self._literal(place, token.text)
                self.depth += 1
            elif token.text in (")", "]", "}"):
                self.depth -= 1
                while self.scopes and self.scopes[-1][0] > self.depth:
                    self.scopes.pop()
        reads = tuple(
            Read(root, member, _flat(root, member), None if keys is None else frozenset(keys))
            for (root, member), keys in sorted(self.members.items(), key=lambda item: item[0])
        )
        return References(
            reads=reads,
            zoned=frozenset(self.zoned),
            networks=self.networks,
            text=self._rewritten(),
            literals=tuple(self.literals),
            claims=tuple(sorted(self.claims)),
            patterns=tuple(self.patterns),
            cost=self.cost,
        )

    def _units(self, place: int, text: str) -> int:
        """What a word costs by itself; of an operator on lists the more, unless an operand is seen to be no list."""
        if text in cost.WALKING:
            return cost.WALK
        if text in cost.COMPARING:
            return cost.WORD if self._one_value(place) else cost.COMPARE
        if text != "+":
            return cost.WORD
        if not self.scopes:
            self.entries += self.largest
        self.joins += 1
        return self.joins * (cost.WALK if self._one_value(place) else cost.JOIN)

    def _one_value(self, place: int) -> bool:
        """Whether a literal or a declared text or number stands at either side of an operator."""
        before, after = self._at(place - 1), self._at(place + 1)
        if _LITERALS & {before.kind, after.kind}:
            return True
        return self._declared(place - 3) or (self._declared(place + 1) and self._at(place + 4).text not in (".", "["))

    def _declared(self, place: int) -> bool:
        root, dot, member = self._at(place), self._at(place + 1), self._at(place + 2)
        sample = SAMPLES.get(root.text, {}).get(member.text)
        return dot.text == "." and self._at(place - 1).text != "." and isinstance(sample, str | int)

    def _times(self) -> int:
        """How often what stands here is evaluated, at most."""
        return self.entries if self.scopes else 1

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
        if name == IN_NETWORK:
            self._network(place, selected=selected)
        argument = self._at(place + 2)
        literal = argument.kind is Kind.STRING and self._at(place + 3).text == ")"
        if name == "matches":
            if not literal:
                raise ExpressionError("matches() takes a pattern in quotes, e.g. matches('^gpt-[0-9]')")
            self.literals.append(f"''.matches({argument.text})")
            self.patterns.append((argument.text, self._times()))
        elif name in _LITERAL_CHECKED and literal:
            self.literals.append(f"{name}({argument.text})")

    def _literal(self, place: int, opener: str) -> None:
        before = self._at(place - 1)
        index = before.kind in _OPERANDS or before.text in (")", "]")
        if opener != "(" and not index and self.scopes and self.macro == "map":
            raise ExpressionError("map() may not make lists or maps of its entries; yield a string")

    def _bind(self, place: int, macro: str) -> None:
        name = self._at(place + 2).text
        if self.scopes:
            # The work would multiply, and an expression of one tenant runs in the gateway of all.
            raise ExpressionError(f"{macro}() stands inside another macro; use 'in' or one macro only")
        if name in RULE_ROOTS or name in TYPES or "__" in name:
            raise ExpressionError(f"{macro}() names its variable {name!r}, which has a meaning already; choose another")
        self.scopes.append((self.depth + 1, name))
        self.macro = macro
        self.cost += self.entries * (self.entries if macro in cost.COPYING else cost.MACRO)

    def _network(self, place: int, *, selected: bool) -> None:
        literal = self._at(place + 2)
        if not selected or literal.value is None or self._at(place + 3).text != ")":
            raise ExpressionError("write a network in quotes, e.g. request.address.inNetwork('10.0.0.0/8')")
        try:
            network(literal.value)
        except ValueError as error:
            raise ExpressionError(f"inNetwork(): {error}") from error
        self.networks = True

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
        if name == NOW and NOW in self.roots:
            self.members[NOW, ""] = None
        elif name in self.roots:
            self._member(place, token)
        elif name not in TYPES:
            if name in RULE_ROOTS:
                raise ExpressionError(f"{name!r} cannot be read here; there is {', '.join(sorted(self.roots))}")
            raise ExpressionError(f"there is no variable {name!r}{_suggest(name, self.roots)}")

    def _member(self, place: int, token: Token) -> None:
        root = token.text
        if self.scopes and self.macro in cost.COPYING:
            raise ExpressionError(f"map() and filter() may look at their own variable only, not at {root!r}")
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
        if (root, member) in LOWER_CASE_KEYS and key != key.lower():
            raise ExpressionError(f"names of {root}.{member} are in lower case: write {key.lower()!r}, not {key!r}")
        if (root, member) == CLAIMS:
            self.claims.add(self._path(after) or (key,))
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

    def _path(self, after: int) -> Path:
        """The literal keys that are looked up one in the other from `after` on."""
        keys: list[str] = []
        while True:
            sign, key, end = self._at(after), self._at(after + 1), self._at(after + 2)
            if sign.text == "." and key.kind is Kind.NAME and end.text != "(":
                keys.append(key.text)
                after += 2
            elif sign.text == "[" and key.value is not None and end.text == "]":
                keys.append(key.value)
                after += 3
            else:
                return tuple(keys)

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
