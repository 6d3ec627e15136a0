"""What the commands `revisions`, `rollback`, `freeze` and `unfreeze` read and write, as the kubeconfig's user."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from tidegate_operator.ingest import ConfigMapObject
from tidegate_operator.kube import CONFIG_MAPS, LEASES, Api, ApiError
from tidegate_operator.leadership import LeaseObject
from tidegate_operator.outputs import Gateway
from tidegate_operator.plane_summary import PLANES_ANNOTATION, PlaneSummary, parse_summary
from tidegate_operator.release.historian import HISTORY_KEY, history_name
from tidegate_operator.release.history import History, decode_history
from tidegate_operator.release.hold import Hold, hold_name, read_hold
from tidegate_operator.release.stage import NO_STAGE, Stage, canary_name, read_stage

_MERGE = "application/merge-patch+json"
_MANAGER = "tidegate-cli"


@dataclass(frozen=True, slots=True)
class Released:
    """What is kept, what is wished, what is being tried, and what data planes run (None: nobody says)."""

    history: History
    hold: Hold
    stage: Stage = NO_STAGE
    planes: PlaneSummary | None = None

    @property
    def pinned(self) -> int:
        """The revision that was rolled back to and still holds; 0 for none."""
        wish = self.hold.rollback
        return 0 if wish is None or wish.id == self.history.fulfilled else wish.revision


async def connect(kubeconfig: Path | None, context: str | None) -> Api:
    """As kubectl would; raises kubernetes' ConfigException."""
    configuration = Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]  # theirs
        config_file=None if kubeconfig is None else str(kubeconfig),
        context=context,
        client_configuration=configuration,
        persist_config=False,
    )
    return Api(configuration)


async def read_released(api: Api, gateway: Gateway) -> Released:
    """Read it; raises one of API_FAILURES. What may not be read, or cannot, counts as absent but for the history."""
    listed = await _data(api, gateway, history_name(gateway.name))
    history = decode_history((listed or {}).get(HISTORY_KEY, "").encode()) or History()
    hold = read_hold(await _data(api, gateway, hold_name(gateway.name)))
    stage = read_stage(await _data(api, gateway, canary_name(gateway.name)))
    return Released(history, hold, stage, await _planes(api, gateway))


async def write_hold(api: Api, gateway: Gateway, key: str, text: str | None) -> None:
    """Put one part of the hold in place, or take it away (None). Raises one of API_FAILURES."""
    name = hold_name(gateway.name)
    body: dict[str, Any] = {"data": {key: text}}
    query = {"fieldManager": _MANAGER}
    path = CONFIG_MAPS.path(gateway.namespace, name)
    try:
        await api.request("PATCH", path, body=body, query=query, content_type=_MERGE)
    except ApiError as error:
        if not error.missing:
            raise
        if text is None:
            return
        metadata = {"name": name, "namespace": gateway.namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}}
        await api.request("POST", CONFIG_MAPS.path(gateway.namespace), body=body, query=query)


async def _data(api: Api, gateway: Gateway, name: str) -> Mapping[str, str] | None:
    try:
        item = await api.get(CONFIG_MAPS.path(gateway.namespace, name), ConfigMapObject)
    except ApiError as error:
        if error.missing:
            return None
        raise
    return item.data or {}


async def _planes(api: Api, gateway: Gateway) -> PlaneSummary | None:
    try:
        lease = await api.get(LEASES.path(gateway.namespace, gateway.index_name), LeaseObject)
    except (ApiError, msgspec.ValidationError):
        return None
    return parse_summary((lease.metadata.annotations or {}).get(PLANES_ANNOTATION, ""))
