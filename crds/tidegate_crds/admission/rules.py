"""What the compiler refuses by looking at one object, as far as CEL can tell it."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from tidegate_crds.admission import cel
from tidegate_crds.admission.cel import DAY, HOUR, MINUTE, SECOND, either, quoted
from tidegate_crds.admission.rule import PLATFORM_NAMESPACE, Rule, about, about_each

# CEL: one single quote.
_QUOTE = '"\'"'


def error_rules() -> tuple[Rule, ...]:
    """What the compiler refuses, of every kind."""
    return (
        *_backend(),
        *_route(),
        *_consumer(),
        *_policy(),
        *_quota(),
        *_approval(),
    )


def _backend() -> Iterator[Rule]:
    kind = "AIBackend"
    yield Rule(kind, "endpoint", about("spec.?endpoint", cel.url()))
    yield Rule(
        kind,
        "tls",
        "has(object.spec.tls) && object.spec.?endpoint.orValue('').startsWith('http:') ? "
        + f"[{quoted('spec.tls: needs an https endpoint: with http there is no certificate to verify')}] : []",
    )
    yield Rule(kind, "caBundle", about("spec.?tls.?caBundle", cel.certificates()))
    yield Rule(kind, "connectTimeout", about("spec.?connectTimeout", cel.duration(1, HOUR)))
    for name in ("latency", "chunkDelay"):
        yield Rule(kind, f"mock{name[0].upper()}{name[1:]}", about(f"spec.?mock.?{name}", cel.duration(0, HOUR)))
    tokens = ("input", "output", "cachedInput", "cacheWrite", "reasoning", "inputAudio", "outputAudio")
    for name in tokens:
        yield Rule(kind, f"price{name}", _price(name, "for a million tokens", 100_000))
    for name in ("image", "request"):
        yield Rule(kind, f"price{name}", _price(name, "each", 1_000))
    prices = "[t.input, t.output, t.?cachedInput.orValue('0')].exists(p, double(p) > 100000.0)"
    long = f"i.?price.?longContext.orValue([]).map(t, {prices} ? 'y' : '')"
    message = either("x.exists(p, p == 'y')", _dear("for a million tokens", 100_000))
    yield Rule(kind, "priceLongContext", about_each("spec.?models", long, message, ".price.longContext"))


def _price(name: str, unit: str, most: int) -> str:
    message = either(f"x != '' && double(x) > {most}.0", _dear(unit, most))
    return about_each("spec.?models", f"i.?price.?{name}.orValue('')", message, f".price.{name}")


def _dear(unit: str, most: int) -> str:
    return f"is more than {most:,} US dollars {unit}: prices are written in dollars, not in cents"


def _route() -> Iterator[Rule]:
    kind = "AIRoute"
    yield Rule(kind, "timeout", about("spec.?timeout", cel.duration(1, HOUR)))
    yield Rule(kind, "streamIdleTimeout", about("spec.?streamIdleTimeout", cel.duration(1, HOUR)))
    periods = about_each(
        "spec.?subscription.?plans", "i.?rateLimit.?period.orValue('')", cel.duration(1, 31 * DAY), ".rateLimit.period"
    )
    yield Rule(kind, "plans", periods)


def _consumer() -> Iterator[Rule]:
    kind, keys = "AIConsumer", "spec.?credentials.?apiKeys"
    order = cel.order(
        "x.?notBefore.orValue('')",
        "x.?notAfter.orValue('')",
        "must be later than notBefore: as it stands, the key never works",
    )
    yield Rule(kind, "keyTimes", about_each(keys, "i", order, ".notAfter"))
    long_name = either(
        "has(x.generate) && x.?secretRef.?key.orValue('').size() > 243",
        "needs a secretRef.key of at most 243 characters, because .previous and .issued-at are added",
    )
    yield Rule(kind, "generatedName", about_each(keys, "i", long_name, ".generate"))
    rotate, overlap = "i.?generate.?rotateEvery.orValue('')", "i.?generate.?overlap.orValue('')"
    longest = 3660 * DAY
    yield Rule(
        kind, "rotateEvery", about_each(keys, rotate, cel.duration(10 * MINUTE, longest), ".generate.rotateEvery")
    )
    yield Rule(kind, "overlap", about_each(keys, overlap, cel.duration(0, longest), ".generate.overlap"))
    both = "x.?generate.?rotateEvery.hasValue() && x.?generate.?overlap.hasValue()"
    longer = f"{cel.milliseconds('x.generate.overlap')} >= {cel.milliseconds('x.generate.rotateEvery')}"
    message = either(f"{both} && {longer}", "must be shorter than rotateEvery, or three keys would work at once")
    yield Rule(kind, "overlapOrder", about_each(keys, "i", message, ".generate.overlap"))


def _policy() -> Iterator[Rule]:
    kind = "AIPolicy"
    yield Rule(kind, "targetRefs", _gateway())
    for name in ("allow", "deny"):
        yield Rule(kind, f"network{name}", about_each(f"spec.?network.?{name}", "i", cel.network()))
    period = "i.?period.orValue('')"
    yield Rule(kind, "rateLimits", about_each("spec.?rateLimits", period, cel.duration(1, 31 * DAY), ".period"))
    yield from _authentication()
    signals = "spec.?risk.?signals"
    yield Rule(kind, "signalPeriods", about_each(signals, period, cel.duration(SECOND, DAY), ".period"))
    yield Rule(kind, "maxAge", about("spec.?risk.?stepUp.?maxAge", cel.duration(SECOND, 30 * DAY)))
    offset = quoted("^[+-]?[0-9]{2}:[0-9]{2}$")
    known = f"x == '' || x.matches({offset}) || x in variables.zones"
    unknown = f"{known} ? '' : 'there is no time zone ' + {_QUOTE} + x + {_QUOTE}"
    yield Rule(kind, "signalZones", about_each(signals, "i.?timeZone.orValue('')", unknown, ".timeZone"))


def _authentication() -> Iterator[Rule]:
    kind, jwt, asked = "AIPolicy", "spec.?authentication.?jwt", "spec.?authentication.?introspection"
    taken = either(
        f"object.{jwt}.orValue([]).exists(j, j.name == x)", "is the name of a jwt provider too; choose another"
    )
    yield Rule(kind, "providerNames", about_each(asked, "i.name", taken, ".name"))
    yield Rule(kind, "jwksUri", about_each(jwt, "i.?jwksUri.orValue('')", cel.url(), ".jwksUri"))
    discovered = "has(i.jwksUri) || has(i.jwksSecretRef) ? '' : i.issuer"
    yield Rule(kind, "issuer", about_each(jwt, discovered, cel.url(), ".issuer"))
    yield Rule(kind, "endpoint", about_each(asked, "i.endpoint", cel.url(), ".endpoint"))
    bounds = (
        (jwt, "clockSkew", 0, 5 * MINUTE),
        (jwt, "refresh", 30 * SECOND, DAY),
        (jwt, "maxKeyAge", MINUTE, 30 * DAY),
        (asked, "cache", 0, 5 * MINUTE),
    )
    for path, name, least, most in bounds:
        yield Rule(kind, name, about_each(path, f"i.?{name}.orValue('')", cel.duration(least, most), f".{name}"))
    for path, name in ((jwt, "jwtCertificates"), (asked, "introspectionCertificates")):
        yield Rule(kind, name, about_each(path, "i.?tls.?caBundle.orValue('')", cel.certificates(), ".tls.caBundle"))


def _quota() -> Iterator[Rule]:
    kind, limits = "Quota", "spec.?limits"
    yield Rule(kind, "targetRefs", _gateway())
    own = either("x == object.metadata.name", "is this quota itself: name another one, or leave it out")
    yield Rule(kind, "parent", about("spec.?parent", own))
    for name, count in (("share", "true"), ("safeShare", "size(object.spec.?share.orValue({})) == 0")):
        shares = f"object.spec.?{name}.orValue({{}})"
        total = f"{shares}.map(c, int({shares}[c])).sum()"
        message = quoted(f"spec.{name}: adds up to ")
        rest = quoted(" percent: lower some, the sum is at most 100")
        yield Rule(
            kind, name, f"size({shares}) > 0 && {count} && {total} > 100 ? [{message} + string({total}) + {rest}] : []"
        )
    yield from _amounts()
    sliding = "i.?window.?sliding.orValue('')"
    yield Rule(kind, "sliding", about_each(limits, sliding, cel.duration(SECOND, 366 * DAY), ".window.sliding"))
    unknown = either(
        "x != '' && !(x in variables.zones)",
        "is no IANA time zone: write one such as Europe/Berlin, or leave it out for UTC",
    )
    yield Rule(kind, "timeZone", about_each(limits, "i.?window.?timeZone.orValue('')", unknown, ".window.timeZone"))
    queue = "i.?onExceed.orValue('') == 'Queue' ? i.?queue.?timeout.orValue('') : ''"
    yield Rule(kind, "queue", about_each(limits, queue, cel.duration(1, 5 * MINUTE), ".queue.timeout"))
    yield Rule(kind, "repeated", _repeated())
    order = cel.order("x.?notBefore.orValue('')", "x.notAfter", "must be later than notBefore")
    yield Rule(kind, "grants", about_each("spec.?grants", "i", order, ".notAfter"))
    yield Rule(kind, "notify", about("spec.?notify.?url", cel.url()))
    yield Rule(kind, "notifyCertificates", about("spec.?notify.?tls.?caBundle", cel.certificates()))


def _amounts() -> Iterator[Rule]:
    """Amounts that cannot be counted exactly; of tiers' amounts only the digits are looked at."""
    digits = "has more digits than are counted: Cost has six after the point, ComputeSeconds three"
    finer = r"x.unit == 'ComputeSeconds' && %s.matches('\\.[0-9]{3}0*[1-9]')"
    yield Rule("Quota", "digits", about_each("spec.?limits", "i", either(finer % "x.amount", digits), ".amount"))
    tiers = "x.?tierAmounts.orValue({}).exists(t, " + finer % "x.tierAmounts[t]" + ")"
    yield Rule("Quota", "tierDigits", about_each("spec.?limits", "i", either(tiers, digits), ".tierAmounts"))
    accuracy = "object.spec.?accuracy.orValue('Local')"
    for name, applies, most in (
        ("mostLocal", f"{accuracy} == 'Local'", 9_000_000_000_000_000_000),
        ("mostShared", f"{accuracy} != 'Local'", 9_000_000_000_000_000),
    ):
        text = _at_most(most, accuracy)
        for unit, scale in (("Cost", 1_000_000), ("ComputeSeconds", 1_000)):
            text = f"x.unit == '{unit}' ? ({_at_most(most // scale, accuracy)}) : ({text})"
        yield Rule("Quota", name, about_each("spec.?limits", "i", f"!({applies}) ? '' : ({text})", ".amount"))


def _at_most(bound: int, accuracy: str) -> str:
    beyond = f"int(x.amount.split('.')[0]) > {bound}"
    return f"{beyond} ? 'is too much to be counted: with accuracy ' + {accuracy} + ' at most {bound}' : ''"


def _repeated() -> str:
    window = (
        "(has(a.window) == has(b.window)) && (!has(a.window) || ("
        "a.window.?calendar.orValue('') == b.window.?calendar.orValue('') && "
        "(a.window.?calendar.hasValue() ? a.window.?timeZone.orValue('UTC') == b.window.?timeZone.orValue('UTC') : "
        + f"{cel.milliseconds('a.window.sliding')} == {cel.milliseconds('b.window.sliding')})))"
    )
    same = (
        f"a.unit == b.unit && {window} && a.?expression.orValue('') == b.?expression.orValue('')"
        " && a.?onExceed.orValue('Block') == b.?onExceed.orValue('Block')"
    )
    limits = "object.spec.?limits.orValue([])"
    earlier = f"{limits}.transformList(m, a, m < n && {same}, string(m))"
    return (
        f"{limits}.transformList(n, b, {earlier}).transformList(n, e, e.size() > 0, 'spec.limits[' + string(n) + "
        "']: has the unit, window and onExceed of limit ' + e[0] + ': remove one of them')"
    )


def _approval() -> Iterator[Rule]:
    created, ends = "object.metadata.creationTimestamp", "object.spec.notAfter"
    long = f"timestamp({ends}) > timestamp({created}) + duration('168h')"
    message = quoted("spec.notAfter: must be at most 7 days after the approval was created: with request it is short")
    applies = (
        f"has(object.spec.request) && has({ends}) && has({created}) && {cel.is_time(ends)} && {cel.is_time(created)}"
    )
    yield Rule("AIApproval", "notAfter", f"{applies} && {long} ? [{message}] : []")


def _gateway() -> str:
    message = either(
        f"x == 'Gateway' && object.metadata.namespace != '{PLATFORM_NAMESPACE}'",
        f"Gateway is open only to objects in the namespace {PLATFORM_NAMESPACE}; "
        "use kind Namespace, which means this namespace, or AIRoute",
    )
    return about_each("spec.?targetRefs", "i.kind", message, ".kind")


@cache
def zones() -> str:
    """CEL: a list literal of those names."""
    names = sorted(files("tzdata").joinpath("zones").read_text().split())
    return "[" + ",".join(quoted(name) for name in names) + "]"
