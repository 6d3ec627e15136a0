"""compile(): the World in, every data plane's snapshot and every object's verdict out. Pure.

The passes in their order: accept (each object by itself), place (which form takes effect in this cluster), resolve
(references and Secrets), attach (policies and quotas to routes), lower (entries, rival claims settled, and shards).
"""

from collections.abc import Mapping
from dataclasses import replace

from tidegate_operator.compile.accept import Judged, judge
from tidegate_operator.compile.bounds import bound_credentials, leave_out
from tidegate_operator.compile.compiled import Compiled, Served
from tidegate_operator.compile.forms import Past, choose_forms
from tidegate_operator.compile.lower_attaching import lower_attaching
from tidegate_operator.compile.lower_backends import lower_backends
from tidegate_operator.compile.lower_consumers import lower_consumers
from tidegate_operator.compile.lower_lists import lower_lists
from tidegate_operator.compile.lower_providers import lower_providers
from tidegate_operator.compile.lower_quotas import lower_quotas, note_fallbacks
from tidegate_operator.compile.lower_routes import lower_routes
from tidegate_operator.compile.lower_subscriptions import lower_subscriptions
from tidegate_operator.compile.lowered import Lowered
from tidegate_operator.compile.memo import Memo
from tidegate_operator.compile.note_prices import note_prices
from tidegate_operator.compile.prices import price_tables
from tidegate_operator.compile.problems import sort_findings
from tidegate_operator.compile.secret_values import KeySources
from tidegate_operator.verdicts import Verdict
from tidegate_operator.world import Facts, ObjectKey, Resource, World


def compile_world(world: World, facts: Facts, previous: Served | None = None, memo: Memo | None = None) -> Compiled:
    """Compile all objects; one that is wrong holds back no other.

    `previous` is what is in force; it lends last good forms to objects whose present generation is not valid.
    `memo` is the one of an earlier compilation. Raises CompileError when the lists are too large to be published.
    """
    memo = memo if memo is not None else Memo()
    memo.begin(facts)
    judged = _accept(world, facts, memo)
    previous = previous or Served({})
    past = Past(world, facts, previous)
    forms = choose_forms(judged, past)
    out = Lowered()
    lower_backends(forms, world.secrets, memo, out)
    attachments = lower_attaching(forms, world.resources, facts, memo, out)
    lower_lists(forms.policies, world, previous, memo, out)
    lower_providers(forms, world.secrets, memo, out)
    lower_quotas(forms, world, facts, memo, out)
    sources = KeySources(world.secrets, world.unissued, facts.issues_keys)
    lower_consumers(forms, judged, sources, past, memo, out)
    granted = lower_subscriptions(forms, judged, memo, out)
    lower_routes(forms, judged, attachments, granted, past, memo, out)
    note_fallbacks(forms, out)
    note_prices(forms, out)
    bound_credentials(out)
    prices = price_tables({content.provider for content in forms.backends.values()})
    fitted = memo.encoder.encode(out.entries, prices)
    leave_out(fitted.left_out, out)
    memo.entries = out.entries
    return Compiled(
        shards=(*fitted.shards, *memo.list_encoder.encode(out.lists)),
        verdicts=_verdicts(judged, out, forms.unplaced, memo),
        credentials=dict(sorted(out.credentials.items())),
        served=Served(out.entries, out.lists),
        generating=out.generating,
    )


def _accept(world: World, facts: Facts, memo: Memo) -> Mapping[ObjectKey, Judged]:
    known = memo.judged
    edited = _edited(known, world.resources) if len(known) == len(world.resources) else None
    if edited is not None:
        memo.judged = {**known, **{key: judge(world.resources[key], facts) for key in edited}}
        return memo.judged
    judged: dict[ObjectKey, Judged] = {}
    for key, resource in world.resources.items():
        verdict = known.get(key)
        if verdict is None or verdict.resource is not resource:
            verdict = judge(resource, facts)
        judged[key] = verdict
    memo.judged = judged
    return judged


def _edited(known: Mapping[ObjectKey, Judged], resources: Mapping[ObjectKey, Resource]) -> list[ObjectKey] | None:
    """Which objects differ from those that were judged, when they are the same ones in the same order; else None.

    So it is after an edit, and to walk both side by side needs no lookup.
    """
    edited: list[ObjectKey] = []
    for (former, verdict), (key, resource) in zip(known.items(), resources.items(), strict=True):
        if verdict.resource is not resource:
            if former != key:
                return None
            edited.append(key)
    return edited


def _verdicts(
    judged: Mapping[ObjectKey, Judged], out: Lowered, unplaced: set[ObjectKey], memo: Memo
) -> dict[ObjectKey, Verdict]:
    noted = out.errors.keys() | out.unresolved.keys() | out.notes.keys() | unplaced
    verdicts = {
        key: _verdict(verdict, out, placed=key not in unplaced) if verdict.errors or key in noted else verdict.clean
        for key, verdict in judged.items()
    }
    approved: dict[ObjectKey, tuple[Verdict, Verdict]] = {}
    for key, approval in out.approvals.items():
        plain, known = verdicts[key], memo.verdicts.get(key)
        if known is None or known[0] is not plain or known[1].approval is not approval:
            known = (plain, replace(plain, approval=approval))
        approved[key] = known
        verdicts[key] = known[1]
    memo.verdicts = approved
    return verdicts


def _verdict(judged: Judged, out: Lowered, *, placed: bool) -> Verdict:
    key = judged.resource.key
    entry = out.entries.get(key)
    return Verdict(
        key=key,
        generation=judged.resource.generation,
        served_generation=entry.source.generation if entry is not None else None,
        placed=placed,
        errors=sort_findings([*judged.errors, *out.errors.get(key, ())]),
        unresolved=out.unresolved.get(key, ()),
        notes=out.notes.get(key, ()),
    )
