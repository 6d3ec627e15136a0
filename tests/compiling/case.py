"""Golden cases of the compiler: a YAML file of steps in, what is served and every verdict out.

A step applies objects (as `kubectl apply` would: a changed spec raises the generation, the uid stays), deletes some,
and compiles. What the next step has as `previous` is read back from the published shards, as after a restart; the
compilation is repeated with a Memo that lives through all steps and must give the same bytes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tidegate_dataplane.snapshot.codec import decode_shard
from tidegate_dataplane.snapshot.entries import ClusterFacts, ListKind, ListPart
from tidegate_dataplane.snapshot.records import ADDRESS_BYTES, DIGEST_BYTES, IPV4_PREFIX, split_records
from tidegate_operator.compile import Compiled, Memo, Served, compile_world
from tidegate_operator.verdicts import Approval, Finding, Verdict
from tidegate_operator.world import ConfigMapKey, Facts, Kind, ObjectKey, Resource, SecretKey, World

NAMESPACE = "team-a"
EPOCH = 1_700_000_000


def run_case(path: Path) -> dict[str, Any]:
    """All outputs of one `.in.yaml` file, ready to be written as YAML."""
    case = yaml.safe_load(path.read_text())
    facts = facts_of(case.get("facts", {}))
    world, served, memo = World({}), Served({}), Memo()
    outputs = []
    for step in case["steps"]:
        world = next_world(world, step)
        compiled = compile_world(world, facts, served)
        assert same_output(compile_world(world, facts, served, memo), compiled)
        served = read_back(compiled)
        assert served == compiled.served
        output = describe(compiled)
        assert not leaked_secrets(world, output, compiled)
        outputs.append({"step": step["step"], **output} if "step" in step else output)
    return {"steps": outputs}


def facts_of(given: Mapping[str, Any]) -> Facts:
    """Facts with the platform namespace `platform`, unless the case says otherwise."""
    return Facts(
        gateway=given.get("gateway", "default"),
        platform_namespace=given.get("platformNamespace", "platform"),
        cluster=msgspec.convert(given.get("cluster", {}), ClusterFacts),
        issues_keys=given.get("issuesKeys", False),
    )


def next_world(world: World, step: Mapping[str, Any]) -> World:
    """The World after a step."""
    resources, secrets, config_maps = dict(world.resources), dict(world.secrets), dict(world.config_maps)
    for text in step.get("delete", ()):
        kind, _, name = text.partition(" ")
        if kind == "Secret":
            del secrets[SecretKey(*_split(name))]
        elif kind == "ConfigMap":
            del config_maps[ConfigMapKey(*_split(name))]
        else:
            del resources[ObjectKey(Kind(kind), *_split(name))]
    for document in step.get("apply", ()):
        if document["kind"] == "Secret":
            key = SecretKey(document.get("namespace", NAMESPACE), document["name"])
            secrets[key] = {name: value.encode() for name, value in document["data"].items()}
        elif document["kind"] == "ConfigMap":
            held = ConfigMapKey(document.get("namespace", NAMESPACE), document["name"])
            config_maps[held] = {name: value.encode() for name, value in document["data"].items()}
        else:
            resource = _applied(document, resources)
            resources[resource.key] = resource
    return World(resources, secrets, config_maps=config_maps)


def read_back(compiled: Compiled) -> Served:
    """What a restarted operator recovers from the published shards."""
    return Served.from_shards(
        decode_shard(shard.data, name=shard.name, sha256=shard.sha256) for shard in compiled.shards
    )


def same_output(one: Compiled, other: Compiled) -> bool:
    """Whether two compilations published and said the same."""
    return (
        one.shards == other.shards
        and one.verdicts == other.verdicts
        and one.credentials == other.credentials
        and one.served == other.served
    )


def describe(compiled: Compiled) -> dict[str, Any]:
    """Entries by kind and object, verdicts, and the names of credentials."""
    served: dict[str, dict[str, Any]] = {}
    for key, entry in sorted(compiled.served.entries.items()):
        served.setdefault(key.kind.value, {})[_name(key)] = msgspec.to_builtins(entry)
    output: dict[str, Any] = {
        "served": served,
        "verdicts": {str(key): _verdict(verdict) for key, verdict in sorted(compiled.verdicts.items())},
    }
    if compiled.served.lists:
        output["lists"] = {f"{key} {key.kind}": _records(parts) for key, parts in sorted(compiled.served.lists.items())}
    if compiled.credentials:
        output["credentials"] = list(compiled.credentials)
    return output


def leaked_secrets(world: World, output: Mapping[str, Any], compiled: Compiled) -> list[SecretKey]:
    """Secrets whose value can be found in what is published, said or printed."""
    text = yaml.safe_dump(dict(output)) + repr(compiled)
    text += msgspec.json.encode(list(compiled.served.entries.values())).decode()
    return [
        key
        for key, data in world.secrets.items()
        for value in data.values()
        if value.strip() and value.decode(errors="replace").strip() in text
    ]


def _applied(document: Mapping[str, Any], resources: Mapping[ObjectKey, Resource]) -> Resource:
    key = ObjectKey(Kind(document["kind"]), document.get("namespace", NAMESPACE), document["name"])
    fresh = Resource(
        key=key,
        spec=document.get("spec", {}),
        generation=document.get("generation", 1),
        uid=document.get("uid", f"uid-{key.name}"),
        created=EPOCH + document.get("created", 0),
    )
    old = resources.get(key)
    if old is None or old.uid != fresh.uid:
        return fresh
    return replace(old, spec=fresh.spec, generation=old.generation + (old.spec != fresh.spec))


def _verdict(verdict: Verdict) -> dict[str, Any]:
    described: dict[str, Any] = {"generation": verdict.generation, "servedGeneration": verdict.served_generation}
    if not verdict.placed:
        described["placed"] = False
    if verdict.errors:
        described["errors"] = list(map(_finding, verdict.errors))
    if verdict.unresolved:
        described["unresolved"] = list(map(_finding, verdict.unresolved))
    if verdict.approval is not None:
        described["approval"] = _approval(verdict.approval)
    if verdict.notes:
        described["notes"] = [_finding(finding) for finding in verdict.notes]
    return described


def _approval(approval: Approval) -> dict[str, Any]:
    described: dict[str, Any] = {"reason": approval.reason.value, "message": approval.message}
    if approval.not_after is not None:
        described |= {"notAfter": approval.not_after, "endsBy": approval.ends_by}
    return described


def _records(parts: tuple[ListPart, ...]) -> list[str]:
    """The networks of a list, or the digests that it holds, as people write them."""
    if parts[0].kind is ListKind.KEY_HASHES:
        return [record.hex() for part in parts for record in split_records(part.data, DIGEST_BYTES)]
    return [_network(record) for part in parts for record in split_records(part.data, ADDRESS_BYTES)]


def _network(record: bytes) -> str:
    address = IPv6Address(record[:16])
    if address.ipv4_mapped is not None and record[16] >= IPV4_PREFIX:
        return f"{address.ipv4_mapped}/{record[16] - IPV4_PREFIX}"
    return f"{address}/{record[16]}"


def _finding(finding: Finding) -> dict[str, str]:
    return {"reason": finding.reason.value, "field": finding.field, "message": finding.message}


def _name(key: ObjectKey) -> str:
    return f"{key.namespace}/{key.name}"


def _split(name: str) -> Iterator[str]:
    return iter(name.split("/"))
