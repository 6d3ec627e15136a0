"""compile(): the World in, every data plane's snapshot and every object's verdict out. Pure.

The passes in their order: accept (each object by itself), place (which of them exist in this cluster), settle (rival
claims), resolve (references and Secrets), attach (policies and quotas to routes), lower (entries and shards).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from tidegate_dataplane.snapshot.entries import (
    BackendEntry,
    ConsumerEntry,
    PolicyEntry,
    QuotaEntry,
    RouteEntry,
    TargetRef,
    Unavailable,
)
from tidegate_operator.compile.accept import Judged, judge
from tidegate_operator.compile.attach import Attaching, AttachInputs, Attachments, outline
from tidegate_operator.compile.claims import RouteCandidate, SettledRoutes, claim_of, settle_routes
from tidegate_operator.compile.compiled import AnyEntry, Compiled, Served
from tidegate_operator.compile.consumer_keys import SettledConsumers, settle_consumers
from tidegate_operator.compile.memo import LoweredRoute, Memo, ResolvedConsumer
from tidegate_operator.compile.place import is_placed
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.compile.resolve import Absence, resolve_target_refs, resolve_targets
from tidegate_operator.compile.secret_values import (
    credential_name,
    resolve_consumer,
    resolve_credential,
    secret_values,
)
from tidegate_operator.verdicts import Finding, Verdict
from tidegate_operator.world import Facts, Kind, ObjectKey, World

_NO_FINDINGS: Mapping[ObjectKey, tuple[Finding, ...]] = {}


def compile_world(world: World, facts: Facts, previous: Served | None = None, memo: Memo | None = None) -> Compiled:
    """Compile all objects; one that is wrong holds back no other.

    `previous` is what is in force; it lends last good forms to objects whose present generation is not valid.
    `memo` is the one of an earlier compilation. Raises CompileError when the whole is too large to be published.
    """
    memo = memo if memo is not None else Memo()
    memo.begin(facts)
    return _Compilation(world, facts, previous or Served({}), memo).run()


@dataclass(slots=True)
class _Forms:
    """The content in force of every object that takes effect here, by kind."""

    backends: dict[ObjectKey, BackendEntry] = field(default_factory=dict)
    routes: dict[ObjectKey, RouteEntry] = field(default_factory=dict)
    policies: dict[ObjectKey, PolicyEntry] = field(default_factory=dict)
    quotas: dict[ObjectKey, QuotaEntry] = field(default_factory=dict)
    consumers: dict[ObjectKey, ConsumerEntry] = field(default_factory=dict)
    # Policies and quotas that were never valid: where they leave a gap.
    gaps: dict[ObjectKey, tuple[TargetRef, ...]] = field(default_factory=dict)
    absent_backends: dict[ObjectKey, Absence] = field(default_factory=dict)
    # Objects that are not served as they stand: the verdict needs more than the entry.
    unplaced: set[ObjectKey] = field(default_factory=set)


class _Compilation:
    """One run of the passes. Each pass reads what the passes before it left and writes its own part."""

    def __init__(self, world: World, facts: Facts, previous: Served, memo: Memo) -> None:
        self.world = world
        self.facts = facts
        self.previous = previous.entries
        self.memo = memo
        self.judged: dict[ObjectKey, Judged] = {}
        self.forms = _Forms()
        self.entries: dict[ObjectKey, AnyEntry] = {}
        self.errors: dict[ObjectKey, tuple[Finding, ...]] = {}
        self.unresolved: dict[ObjectKey, tuple[Finding, ...]] = {}
        self.credentials: dict[str, bytes] = {}

    def run(self) -> Compiled:
        self._accept()
        self._lower_backends()
        self._lower_attaching()
        self._lower_consumers()
        self._lower_routes()
        shards = self.memo.encoder.encode(self.entries)
        self.memo.judged, self.memo.entries = self.judged, self.entries
        return Compiled(
            shards=shards,
            verdicts=self._verdicts(),
            credentials=dict(sorted(self.credentials.items())),
            served=Served(self.entries),
        )

    # accept and place

    def _accept(self) -> None:
        known, judged, facts = self.memo.judged, self.judged, self.facts
        for key, resource in self.world.resources.items():
            verdict = known.get(key)
            if verdict is None or verdict.resource is not resource:
                verdict = judge(resource, facts)
            judged[key] = verdict
            if verdict.content is not None and verdict.placed:
                self._take(key, verdict.content)
            else:
                self._accept_odd(key, verdict)

    def _accept_odd(self, key: ObjectKey, judged: Judged) -> None:
        """Sort in an object that is not valid, or not meant for this cluster."""
        if judged.content is not None:
            self._leave_out(key, Absence.UNPLACED)
            return
        former = self._last_good(key)
        if former is not None:
            if is_placed(former.placement, self.facts.cluster):
                self._take(key, former)
            else:
                self._leave_out(key, Absence.UNPLACED)
        elif not judged.placed:
            self._leave_out(key, Absence.UNPLACED)
        elif key.kind is Kind.BACKEND:
            self.forms.absent_backends[key] = Absence.INVALID
        elif judged.refs:
            self.forms.gaps[key] = judged.refs

    def _leave_out(self, key: ObjectKey, absence: Absence) -> None:
        self.forms.unplaced.add(key)
        if key.kind is Kind.BACKEND:
            self.forms.absent_backends[key] = absence

    def _take(self, key: ObjectKey, content: AnyEntry) -> None:
        forms = self.forms
        match content:
            case RouteEntry():
                forms.routes[key] = content
            case ConsumerEntry():
                forms.consumers[key] = content
            case PolicyEntry():
                forms.policies[key] = content
            case QuotaEntry():
                forms.quotas[key] = content
            case BackendEntry():
                forms.backends[key] = content

    def _last_good(self, key: ObjectKey) -> AnyEntry | None:
        """The form in force of this very object; a recreated object has none."""
        entry = self.previous.get(key)
        return entry if entry is not None and entry.source.uid == self.world.resources[key].uid else None

    def _created(self, key: ObjectKey) -> int:
        return self.world.resources[key].created

    # backends

    def _lower_backends(self) -> None:
        for key, content in self.forms.backends.items():
            entry = content
            if content.secret is not None:
                name = credential_name(key.namespace, key.name)
                value, findings = resolve_credential(content, self.world.secrets)
                if value is not None:
                    self.credentials[name] = value
                if findings:
                    self.unresolved[key] = findings
                entry = msgspec.structs.replace(content, credential=name)
            self._serve(key, entry)

    # policies and quotas

    def _lower_attaching(self) -> None:
        for key, content in self._attaching():
            findings = resolve_target_refs(content.target_refs, key.namespace, self.world.resources)
            if findings:
                self.unresolved[key] = findings
            self._serve(key, content)

    def _attaching(self) -> Iterator[tuple[ObjectKey, PolicyEntry | QuotaEntry]]:
        yield from self.forms.policies.items()
        yield from self.forms.quotas.items()

    def _attachments(self) -> Attachments:
        forms = self.forms
        inputs = AttachInputs(
            platform_namespace=self.facts.platform_namespace,
            policies=tuple(
                Attaching(key.namespace, policy.target_refs, outline(policy))
                for key, policy in sorted(forms.policies.items(), key=_by_name)
            ),
            quotas=tuple(
                Attaching(key.namespace, quota.target_refs, quota.source.key)
                for key, quota in sorted(forms.quotas.items(), key=_by_name)
            ),
            unavailable=tuple(
                Attaching(key.namespace, refs, Unavailable(kind=key.kind.value, key=f"{key.namespace}/{key.name}"))
                for key, refs in sorted(forms.gaps.items(), key=_by_name)
            ),
        )
        known = self.memo.attachments
        if known is None or known.inputs != inputs:
            known = self.memo.attachments = Attachments(inputs)
        return known

    # consumers

    def _lower_consumers(self) -> None:
        resolved = {key: self._resolve_consumer(key, content) for key, content in self.forms.consumers.items()}
        self.memo.consumers = resolved
        candidates = {key: consumer.entry for key, consumer in resolved.items()}
        settled = self._settle_consumers(candidates)
        self.errors.update(settled.errors)
        for key, entry in settled.entries.items():
            if resolved[key].unresolved:
                self.unresolved[key] = resolved[key].unresolved
            self._serve(key, entry)

    def _resolve_consumer(self, key: ObjectKey, content: ConsumerEntry) -> ResolvedConsumer:
        known = self.memo.consumers.get(key)
        same = known is not None and known.content is content
        if known is not None and same and not known.values:
            return known
        references = tuple(item.secret for item in content.keys if item.secret is not None)
        values = secret_values(references, key.namespace, self.world.secrets)
        if known is not None and same and None not in values and known.values == values:
            return known
        if not references:
            return ResolvedConsumer(content, (), content, ())
        entry, findings = resolve_consumer(content, self.world.secrets)
        return ResolvedConsumer(content, values, entry, findings)

    def _settle_consumers(self, candidates: dict[ObjectKey, ConsumerEntry]) -> SettledConsumers:
        if candidates == self.memo.free_consumers:
            return SettledConsumers(candidates, _NO_FINDINGS)
        settled = settle_consumers(candidates, self._created, self._former_consumer)
        self.memo.free_consumers = {} if settled.errors else candidates
        return settled

    def _former_consumer(self, key: ObjectKey) -> ConsumerEntry | None:
        former = self._last_good(key)
        if not isinstance(former, ConsumerEntry) or not is_placed(former.placement, self.facts.cluster):
            return None
        if former.source.generation == self.world.resources[key].generation:
            return None
        return resolve_consumer(former, self.world.secrets)[0]

    # routes

    def _lower_routes(self) -> None:
        settled = self._settle_routes()
        self.errors.update(settled.errors)
        attachments = self._attachments()
        backends: dict[str, BackendEntry | Absence] = {
            f"{key.namespace}/{key.name}": state
            for states in (self.forms.absent_backends, self.forms.backends)
            for key, state in states.items()
        }
        lowered: dict[ObjectKey, LoweredRoute] = {}
        for key, content in settled.contents.items():
            route = lowered[key] = self._lower_route(key, content, backends, attachments)
            if route.resolution.unresolved:
                self.unresolved[key] = route.resolution.unresolved
            self.entries[key] = route.entry
        self.memo.routes = lowered

    def _settle_routes(self) -> SettledRoutes:
        claims = {
            key: judged.claim if (judged := self.judged[key]).content is content else claim_of(content)
            for key, content in self.forms.routes.items()
        }
        if claims == self.memo.free_claims:
            return SettledRoutes(self.forms.routes, _NO_FINDINGS)
        settled = settle_routes(
            {
                key: RouteCandidate(content, claims[key], self._created(key), self._former_route(key, content))
                for key, content in self.forms.routes.items()
            }
        )
        self.memo.free_claims = {} if settled.errors else claims
        return settled

    def _former_route(self, key: ObjectKey, content: RouteEntry) -> RouteEntry | None:
        former = self._last_good(key)
        if not isinstance(former, RouteEntry) or former is content:
            return None
        return former if is_placed(former.placement, self.facts.cluster) else None

    def _lower_route(
        self,
        key: ObjectKey,
        content: RouteEntry,
        backends: Mapping[str, BackendEntry | Absence],
        attachments: Attachments,
    ) -> LoweredRoute:
        known = self.memo.routes.get(key)
        attached = attachments.of(key.namespace, key.name)
        if known is not None and known.content is content:
            found = tuple(map(backends.get, known.backends))
            if found == known.found:
                if attached is known.attached or attached == known.attached:
                    return known
                resolution = known.resolution
            else:
                resolution = resolve_targets(content, backends)
        else:
            found = tuple(backends.get(target.backend) for target in content.targets)
            resolution = resolve_targets(content, backends)
        entry = msgspec.structs.replace(
            content,
            targets=resolution.targets,
            policies=attached.policies,
            quotas=attached.quotas,
            unavailable=attached.unavailable,
        )
        if known is not None and known.entry == entry:
            entry = known.entry
        names = tuple(target.backend for target in content.targets)
        return LoweredRoute(content, names, found, resolution, attached, entry)

    # entries and verdicts

    def _serve(self, key: ObjectKey, entry: AnyEntry) -> None:
        """Put an entry in force; an equal one keeps its identity, so that later comparisons cost nothing."""
        known = self.memo.entries.get(key)
        self.entries[key] = known if known is not None and (known is entry or known == entry) else entry

    def _verdicts(self) -> dict[ObjectKey, Verdict]:
        errors, unresolved, unplaced = self.errors, self.unresolved, self.forms.unplaced
        verdicts: dict[ObjectKey, Verdict] = {}
        for key, judged in self.judged.items():
            if judged.errors or key in errors or key in unresolved or key in unplaced:
                verdicts[key] = self._verdict(key, judged)
            else:
                verdicts[key] = judged.clean
        return verdicts

    def _verdict(self, key: ObjectKey, judged: Judged) -> Verdict:
        entry = self.entries.get(key)
        return Verdict(
            key=key,
            generation=judged.resource.generation,
            served_generation=entry.source.generation if entry is not None else None,
            placed=key not in self.forms.unplaced,
            errors=sort_findings([*judged.errors, *self.errors.get(key, ())]),
            unresolved=self.unresolved.get(key, ()),
        )


def _by_name(item: tuple[ObjectKey, object]) -> tuple[str, str]:
    return item[0].namespace, item[0].name
