"""An API server whose etcd tests compact and wipe; the tokens of its accounts outlive that, as renewed ones would."""

from __future__ import annotations

import json
import secrets
import shutil
import urllib.request

from cluster.harness.apiserver import ApiServer
from cluster.harness.gateway import DATA_PLANE_ACCOUNT, OPERATOR_ACCOUNT
from cluster.harness.install import SYSTEM_NAMESPACE


class FragileServer(ApiServer):
    """An API server with an etcd that can be harmed."""

    def __init__(self) -> None:
        super().__init__()
        self._static: dict[str, str] = {}
        lines = self._tokens.read_bytes()
        groups = f"system:serviceaccounts,system:serviceaccounts:{SYSTEM_NAMESPACE},system:authenticated"
        for account in (OPERATOR_ACCOUNT, DATA_PLANE_ACCOUNT):
            token = self._static[account] = secrets.token_urlsafe(24)
            user = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{account}"
            lines += f'{token},{user},{account},"{groups}"\n'.encode()
        self._tokens.write_bytes(lines)

    def token_for(self, namespace: str, service_account: str) -> str:
        """A token that stands in a file: it does not end with the ServiceAccount."""
        return self._static[service_account]

    def compact(self) -> int:
        """Throw away every revision of etcd but the newest; returns that."""
        newest = self.newest()
        self._etcd_asks("/v3/kv/compaction", {"revision": newest, "physical": True})
        return newest

    def wipe(self) -> None:
        """Take API server and etcd down and start them with nothing, on the same ports."""
        self.kill_api()
        if self._etcd is not None:
            self._etcd.kill9()
        shutil.rmtree(self.directory / "etcd")
        self._start_etcd()
        self.start_api()

    def newest(self) -> int:
        """The resourceVersion of the latest write."""
        return int(self._etcd_asks("/v3/kv/range", {"key": "Lw=="})["header"]["revision"])

    def write_until(self, version: int) -> None:
        """Write something of no meaning until the latest resourceVersion is higher than this."""
        while self.newest() <= version:
            self._etcd_asks("/v3/kv/put", {"key": "Lg==", "value": "Lg=="})

    def _etcd_asks(self, path: str, body: object) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(self._etcd_url + path, json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, dict[str, str]] = json.loads(answer.read())
            return found
