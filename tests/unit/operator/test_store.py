"""What changes the World and what does not, and news that arrives in the wrong order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidegate_operator.conditions import ObjectStatus
from tidegate_operator.ingest import ConfigMapObject, CustomObject, Meta, seen_config_map, seen_object
from tidegate_operator.store import SeenConfigMap, SeenObject, SeenSecret, Store
from tidegate_operator.versioned import Versioned
from tidegate_operator.world import ConfigMapKey, Kind, ObjectKey, Resource, SecretKey

KEY = ObjectKey(Kind.CONSUMER, "team", "app")
SECRET = SecretKey("team", "caller")
REFERS = {"credentials": {"apiKeys": [{"name": "a", "secretRef": {"name": "caller", "key": "token"}}]}}


def _seen(version: int, *, generation: int = 1, uid: str = "u", spec: Any = None, **more: Any) -> SeenObject:
    return SeenObject(Resource(KEY, spec if spec is not None else {}, generation, uid), version, **more)


def test_a_status_echo_is_no_change_and_keeps_the_very_object() -> None:
    store = Store()
    assert store.see(_seen(1))
    before = store.world().resources[KEY]
    assert not store.see(_seen(2, status=ObjectStatus(observed_generation=1)))
    assert store.world().resources[KEY] is before
    assert store.status(KEY).observed_generation == 1


def test_a_new_generation_is_a_change() -> None:
    store = Store()
    store.see(_seen(1))
    assert store.see(_seen(2, generation=2, spec={"team": "x"}))
    assert store.world().resources[KEY].spec == {"team": "x"}


def test_an_object_whose_deletion_was_asked_for_is_gone_at_once() -> None:
    store = Store()
    store.see(_seen(1))
    assert store.see(_seen(2, generation=2, deleting=True))
    assert KEY not in store.world().resources
    assert not store.forget(KEY, 3)


def test_a_successor_of_the_same_name_is_a_change_and_outlives_the_late_deletion() -> None:
    store = Store()
    store.see(_seen(1, uid="first"))
    assert store.see(_seen(5, uid="second"))
    assert not store.forget(KEY, 4)
    assert store.world().resources[KEY].uid == "second"


def test_an_old_list_does_not_bring_back_what_was_deleted() -> None:
    store = Store()
    store.see(_seen(1))
    assert store.forget(KEY, 4)
    assert store.audit(Kind.CONSUMER, [_seen(1)], list_version=3) == []
    assert KEY not in store.world().resources


def test_an_audit_finds_what_the_watch_missed() -> None:
    store = Store()
    store.see(_seen(1))
    other = SeenObject(Resource(ObjectKey(Kind.CONSUMER, "team", "new"), {}), 7)
    assert store.audit(Kind.CONSUMER, [other], list_version=8) == [
        "AIConsumer team/new changed",
        "AIConsumer team/app was deleted",
    ]
    assert set(store.world().resources) == {other.resource.key}
    assert store.audit(Kind.ROUTE, [], list_version=9) == []
    assert set(store.world().resources) == {other.resource.key}


def test_an_audit_does_not_delete_what_was_created_after_its_list() -> None:
    store = Store()
    store.see(_seen(10))
    assert store.audit(Kind.CONSUMER, [], list_version=9) == []
    assert KEY in store.world().resources


def test_only_a_secret_that_something_refers_to_is_a_change() -> None:
    store = Store()
    assert not store.see_secret(SeenSecret(SECRET, 1, {"token": b"1"}))
    assert store.see(_seen(2, spec=REFERS))
    assert not store.see_secret(SeenSecret(SECRET, 3, {"token": b"1"}))
    assert store.see_secret(SeenSecret(SECRET, 4, {"token": b"2"}))
    assert store.world().secrets[SECRET] == {"token": b"2"}
    assert store.forget_secret(SECRET, 5)
    store.forget(KEY, 6)
    assert not store.see_secret(SeenSecret(SECRET, 7, {"token": b"3"}))


def test_the_secret_that_signs_alerts_of_a_quota_is_one_of_them() -> None:
    store, key = Store(), ObjectKey(Kind.QUOTA, KEY.namespace, "budget")
    notify = {"url": "https://hooks.example.com/", "secretRef": {"name": SECRET.name, "key": "hmac"}}
    store.see(SeenObject(Resource(key, {"notify": notify}, generation=1, uid="u"), 1))
    assert store.see_secret(SeenSecret(SECRET, 2, {"hmac": b"1"}))


def test_secrets_are_never_shown() -> None:
    assert "token" not in repr(SeenSecret(SECRET, 1, {"token": b"hidden"}))


def test_only_what_is_needed_is_kept_of_an_object() -> None:
    meta = Meta(name="app", namespace="team", uid="u", resource_version="12", created="2026-03-01T00:00:00Z")
    seen = seen_object(Kind.CONSUMER, CustomObject(meta, {"team": "x"}, {"observedGeneration": 1}))
    assert seen.resource == Resource(KEY, {"team": "x"}, 1, "u", created=1_772_323_200)
    assert seen.version == 12


@given(st.permutations([(1, "a"), (2, "b"), (3, None), (4, "c"), (5, None)]))
def test_the_order_of_arrival_never_matters(news: list[tuple[int, str | None]]) -> None:
    for last in range(1, 6):
        table: Versioned[str, str] = Versioned()
        for version, value in news:
            if version > last:
                continue
            if value is None:
                table.drop("key", version)
            else:
                table.put("key", version, value)
        expected = {1: "a", 2: "b", 3: None, 4: "c", 5: None}[last]
        assert table.get("key") == expected


def test_a_list_is_a_change_only_when_its_data_is() -> None:
    store, key = Store(), ConfigMapKey("team", "feed")
    assert store.see_config_map(SeenConfigMap(key, 1, {"a": b"192.0.2.1"}))
    before = store.world().config_maps[key]
    assert not store.see_config_map(SeenConfigMap(key, 2, {"a": b"192.0.2.1"}))
    assert store.world().config_maps[key] is before
    assert store.see_config_map(SeenConfigMap(key, 3, {"a": b"192.0.2.2"}))
    assert not store.see_config_map(SeenConfigMap(key, 2, {"a": b"192.0.2.1"}))
    assert store.world().config_maps[key] == {"a": b"192.0.2.2"}
    assert store.forget_config_map(key, 4)
    assert not store.forget_config_map(key, 5)
    assert key not in store.world().config_maps


def test_an_audit_finds_lists_that_the_watch_missed() -> None:
    store, gone, came = Store(), ConfigMapKey("team", "gone"), ConfigMapKey("team", "came")
    store.see_config_map(SeenConfigMap(gone, 1, {}))
    repairs = store.audit_config_maps([SeenConfigMap(came, 5, {"a": b"x"})], 6)
    assert repairs == ["ConfigMap team/came changed", "ConfigMap team/gone was deleted"]
    assert store.world().config_maps == {came: {"a": b"x"}}


def test_both_kinds_of_data_of_a_configmap_are_read() -> None:
    item = ConfigMapObject(Meta(name="feed", namespace="team"), {"a": "192.0.2.1"}, {"b": "eA==", "c": "no base64"})
    assert seen_config_map(item).data == {"a": b"192.0.2.1", "b": b"x"}
