"""The data plane may read exactly what the operator may write: RBAC names every shard, one by one."""

from pathlib import Path

import yaml

from tidegate_dataplane.snapshot.bundle import canary_config_map, index_config_map, shard_config_map
from tidegate_operator.compile.buckets import MAX_BUCKETS
from tidegate_operator.compile.list_shards import MAX_SHARDS

ROLES = Path(__file__).resolve().parents[3] / "charts" / "tidegate" / "rbac" / "dataplane.yaml"


def test_the_role_of_data_planes_names_every_shard() -> None:
    shards = [f"{number:02d}" for number in range(MAX_BUCKETS)] + [f"l{number:02d}" for number in range(MAX_SHARDS)]
    indexes = [index_config_map("default"), canary_config_map("default")]
    names = [*indexes, *(shard_config_map("default", shard) for shard in shards)]
    (role,) = [one for one in yaml.safe_load_all(ROLES.read_text()) if one["kind"] == "Role"]
    (rule,) = [one for one in role["rules"] if one["resources"] == ["configmaps"]]
    assert rule["resourceNames"] == names
