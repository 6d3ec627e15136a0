"""Texts of CEL that several rules share: each yields the message about a CEL variable `x`, "" where all is well.

Durations, networks and URLs are read as the compiler reads them. Where CEL and the compiler could differ on an odd
spelling, the text here lets pass.
"""

_SECOND = 1_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
DAY = 24 * _HOUR
HOUR = _HOUR
MINUTE = _MINUTE
SECOND = _SECOND

_HOST = r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*\.?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_RFC3339 = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
# Beginnings that only keys and tokens have: of Tidegate, of providers, of clouds and forges, JSON Web Tokens, PEM.
_CREDENTIAL = (
    r"\btdg_[0-9A-Za-z]{49}\b|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|\bglpat-[A-Za-z0-9_-]{20}|\bxox[abpr]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{35}"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.|PRIVATE KEY-----"
)


def quoted(text: str) -> str:
    """A CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def either(condition: str, message: str, otherwise: str = "''") -> str:
    """`message` (plain text) where `condition` (CEL) holds, else the CEL `otherwise`."""
    return f"({condition}) ? {quoted(message)} : ({otherwise})"


def milliseconds(value: str) -> str:
    """CEL: the milliseconds of a duration such as `1h30m`, in CEL's own integers."""
    units = (
        "p.endsWith('ms') ? 1 : p.endsWith('s') ? 1000 : p.endsWith('m') ? 60000 : p.endsWith('h') ? 3600000 : 86400000"
    )
    return f"{value}.findAll('[0-9]+(?:ms|s|m|h|d)').map(p, int(p.find('[0-9]+')) * ({units})).sum()"


def duration(least: int, most: int) -> str:
    """A duration that is not between `least` and `most` milliseconds; "" stands for one that is not given."""
    outside = f"x != '' && [{milliseconds('x')}].exists(v, v < {least} || v > {most})"
    return either(outside, f"must be between {_written(least)} and {_written(most)}")


def network() -> str:
    """What is neither an address nor a network (RFC 4632, RFC 4291)."""
    # IPv4 within IPv6, and leading zeros of a prefix length, which CEL does not read.
    odd = "x.lowerAscii().contains('ffff:') || x.matches('/0[0-9]')"
    unreadable = quoted("must be an address or a network, such as 10.0.0.0/8 or 2001:db8::/32")
    wide = "has bits set beyond its prefix length: write "
    advice = f"{quoted(wide)} + string(cidr(x).masked()) + ', or a single address without a prefix'"
    beyond = f"cidr(x) == cidr(x).masked() ? '' : {advice}"
    return f"{odd} || isIP(x) ? '' : !isCIDR(x) ? {unreadable} : {beyond}"


def url() -> str:
    """What keeps a data plane from calling a URL that the schema's pattern lets through; hosts in brackets pass."""
    authority = "x.split('/')[2]"
    checks = (
        (
            f"{authority}.contains(':') && !{authority}.matches({quoted(f'^[^:]*:0*({_PORT})?$')})",
            "must have a port between 1 and 65535 and a well-formed host",
        ),
        (
            f"!{authority}.matches({quoted(f'^{_HOST}(:.*)?$')})",
            "must name a host, such as https://api.openai.com/v1",
        ),
        (f"{authority}.matches('^[^:]*:0*$')", "must have a port between 1 and 65535, or none"),
        (r"x.matches('/\\.\\.?(/|$)')", "must not have '.' or '..' in its path"),
    )
    text = "''"
    for condition, message in reversed(checks):
        text = either(condition, message, text)
    return f"x == '' || x.contains('[') || x.contains(']') ? '' : ({text})"


def certificates() -> str:
    """What is not a bundle of PEM certificates (RFC 7468), or holds a private key."""
    block = r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
    none = either(
        f"!x.matches({quoted(block)})",
        "must hold at least one PEM block -----BEGIN CERTIFICATE----- … -----END CERTIFICATE-----",
    )
    private = either(
        "x.contains('PRIVATE KEY')",
        "holds a private key: leave only certificates here, and replace that key, for others saw it",
        none,
    )
    return f"x == '' ? '' : ({private})"


def credential() -> str:
    """What only a key or a token looks like."""
    return either(
        f"x.matches({quoted(_CREDENTIAL)})",
        "looks like a key or a token: keep those in Secrets, and replace this one, for others saw it",
    )


def order(begins: str, ends: str, message: str) -> str:
    """`message` where both times (CEL, RFC 3339) are there and the first is not before the second."""
    readable = f"string({begins}).matches({quoted(_RFC3339)}) && string({ends}).matches({quoted(_RFC3339)})"
    return either(f"{readable} && timestamp({begins}) >= timestamp({ends})", message)


def is_time(value: str) -> str:
    """CEL: whether a text, perhaps empty, is RFC 3339."""
    return f"string({value}).matches({quoted(_RFC3339)})"


def _written(milliseconds: int) -> str:
    parts = []
    for unit, size in (("d", DAY), ("h", _HOUR), ("m", _MINUTE), ("s", _SECOND), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
