"""Lists in ConfigMaps and Secrets: an edit reaches every data plane, what is deleted is gone, errors are told."""

from __future__ import annotations

import base64
import gzip
import hashlib
import ipaddress
import random
from typing import Any

from cluster.harness.objects import Manifest, custom, secret, tenant
from cluster.harness.system import System

HERE = "127.0.0.0/8"  # from where these tests call
FAR = "192.0.2.0/24"
LABELS = {"tidegate.dev/list": "true"}


def feed(namespace: str, text: str, labels: Any = LABELS) -> Manifest:
    metadata = {"name": "feed", "namespace": namespace, "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"drop.txt": text}}


def packed_feed(namespace: str, lines: list[str]) -> Manifest:
    packed = base64.b64encode(gzip.compress("\n".join(lines).encode(), mtime=0)).decode()
    return {**feed(namespace, ""), "data": {}, "binaryData": {"drop.txt.gz": packed}}


def edge(namespace: str, **sections: Any) -> Manifest:
    return custom("AIPolicy", namespace, "edge", {"targetRefs": [{"kind": "Namespace"}], **sections})


def deny_feed(namespace: str) -> Manifest:
    return edge(namespace, network={"denyLists": [{"configMapRef": {"name": "feed"}}]})


def start(system: System, namespace: str, *policies: Manifest) -> tuple[str, str]:
    key, model = f"key-of-{namespace}-0123456789", f"chat-{namespace}"
    objects = [*tenant(namespace, key, model=model), *policies]
    system.apply(*objects)
    system.wait_for_status(200, key=key, model=model)
    return key, model


def test_an_edited_feed_is_enforced_and_a_deleted_one_is_gone(system: System, namespace: str) -> None:
    policy = deny_feed(namespace)
    key, model = start(system, namespace, policy)
    system.wait_for(policy, "ResolvedRefs", "False", reason="ListNotFound")
    system.apply(feed(namespace, f"# from a threat feed\n{HERE} ; the tests\n"))
    system.wait_for_status(403, key=key, model=model, code="address_not_allowed")
    system.wait_for(policy, "Ready")
    system.apply(feed(namespace, FAR))
    system.wait_for_status(200, key=key, model=model)
    system.apply(feed(namespace, f"{FAR}\n{HERE}"))
    system.wait_for_status(403, key=key, model=model)
    system.delete(feed(namespace, ""))
    system.wait_for_status(200, key=key, model=model)
    system.wait_for(policy, "ResolvedRefs", "False", reason="ListNotFound")


def test_a_feed_that_turns_to_rubbish_keeps_its_last_good_form(system: System, namespace: str) -> None:
    policy = deny_feed(namespace)
    key, model = start(system, namespace, policy, feed(namespace, FAR))
    system.apply(feed(namespace, f"{HERE}\n{FAR}\n10.0.0.0/40"))
    system.wait_for_status(403, key=key, model=model)
    system.wait_for(policy, "ResolvedRefs", "False", reason="ListPartlyUnreadable")
    system.apply(feed(namespace, "<html>\n<body>503 Service Unavailable</body>\n</html>"))
    system.wait_for(policy, "ResolvedRefs", "False", reason="ListUnreadable")
    assert {reply.status for reply in system.ask_all(key=key, model=model)} == {403}
    # Neither does a restart forget it.
    system.operator.kill9()
    system.start_operator()
    edited = edge(namespace, network={"denyLists": [{"configMapRef": {"name": "feed"}}], "deny": [FAR]})
    system.apply(edited)
    system.wait_for(edited, "Accepted")
    assert {reply.status for reply in system.ask_all(key=key, model=model)} == {403}


def test_without_the_label_a_configmap_is_no_list(system: System, namespace: str) -> None:
    policy = deny_feed(namespace)
    key, model = start(system, namespace, policy, feed(namespace, HERE, labels={"tidegate.dev/list": "no"}))
    system.wait_for(policy, "ResolvedRefs", "False", reason="ListNotFound")
    system.apply(feed(namespace, HERE))
    system.wait_for_status(403, key=key, model=model)
    system.apply(feed(namespace, HERE, labels={}))
    system.wait_for_status(200, key=key, model=model)


def test_a_leaked_key_is_refused_until_it_is_off_the_list(system: System, namespace: str) -> None:
    leaks = {"methods": ["APIKey"], "leakedKeys": [{"secretRef": {"name": "leaks"}}]}
    key, model = start(system, namespace, edge(namespace, authentication=leaks))
    listed = secret(namespace, "leaks", {"sha256.txt": hashlib.sha256(key.encode()).hexdigest()})
    system.apply(listed)
    system.wait_for_status(401, key=key, model=model, code="invalid_api_key")
    refused, unknown = system.ask_all(key=key, model=model), system.ask_all(key="a-key-that-nobody-has", model=model)
    assert [reply.json["error"] for reply in refused] == [reply.json["error"] for reply in unknown]
    system.delete(listed)
    system.wait_for_status(200, key=key, model=model)


def test_one_edited_line_of_a_large_feed_rewrites_one_shard(system: System, namespace: str) -> None:
    chance = random.Random(7)
    lines = [str(ipaddress.IPv4Address(chance.randrange(0x8000_0000, 0xDFFF_FFFF))) for _ in range(100_000)]
    key, model = start(system, namespace, deny_feed(namespace), packed_feed(namespace, lines))
    system.wait_for(deny_feed(namespace), "Ready")
    before = _list_shards(system)
    assert len(before) > 4
    system.apply(packed_feed(namespace, [*lines[:4711], HERE, *lines[4712:]]))
    system.wait_for_status(403, key=key, model=model)
    after = _list_shards(system)
    # The line that went and the line that came.
    assert len({name for name in before if before[name] != after.get(name)}) <= 2
    assert before.keys() == after.keys()


def _list_shards(system: System) -> dict[str, str]:
    index = system.published().index
    return {shard.name: shard.sha256 for shard in index.shards if shard.name.startswith("l")}
