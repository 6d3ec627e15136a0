"""The API keys that this data plane serves, when each was used last, and in which state it is. Never a hash."""

import asyncio
import time
from collections.abc import Iterator
from heapq import nsmallest
from math import isinf
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from tidegate_dataplane.key_uses import KeyUses
from tidegate_dataplane.reload import Reloader
from tidegate_dataplane.runtime import EMPTY, Runtime
from tidegate_dataplane.runtime.objects import Credential
from tidegate_dataplane.snapshot.key_state import KeyState, key_state

PAGE: Final = 500
LONGEST_PAGE: Final = 5_000
_TEXT: Final = 600


class KeyRow(Struct, frozen=True, rename="camel"):
    """One key. Times are seconds since the epoch; `consumer` is "namespace/name"."""

    consumer: str
    key: str
    state: KeyState
    last_used: int | None
    not_after: int | None


class KeyPage(Struct, frozen=True, rename="camel"):
    """The body of `/-/keys`, in the order of consumers and names. Uses before `since` are not known here.

    `next` is the `after` of the next page, None on the last.
    """

    now: int
    since: int
    keys: tuple[KeyRow, ...]
    next: str | None


class Question(NamedTuple):
    """Which keys are asked for: of one consumer, used since, and after a place in the order."""

    consumer: str = ""
    used_since: int | None = None
    after: tuple[str, str] = ("", "")
    limit: int = PAGE


class KeyReport:
    """Answers `/-/keys`."""

    def __init__(self, reloader: Reloader, uses: KeyUses) -> None:
        self._reloader = reloader
        self._uses = uses

    async def answer(self, request: Request) -> Response:
        """One page; in a thread, for there may be many thousands of keys."""
        try:
            question = read_question(request.query_params)
        except ValueError as error:
            return _json(400, {"error": str(error)})
        runtime = self._reloader.runtime or EMPTY
        return _json(200, await asyncio.to_thread(key_page, runtime, self._uses, question, time.time()))


def read_question(query: QueryParams) -> Question:
    """Raises ValueError that says what is wrong."""
    consumer, after = query.get("consumer", ""), query.get("after", "")
    if len(consumer) > _TEXT or len(after) > _TEXT:
        raise ValueError("consumer is namespace/name; after is the next of the page before")
    try:
        limit = int(query.get("limit", PAGE))
        used_since = int(query["usedSince"]) if "usedSince" in query else None
    except ValueError:
        raise ValueError("limit and usedSince are integers; usedSince is in seconds since the epoch") from None
    if not 1 <= limit <= LONGEST_PAGE:
        raise ValueError(f"limit is between 1 and {LONGEST_PAGE}")
    place = after.rpartition("/")
    return Question(consumer, used_since, (place[0], place[2]), limit)


def key_page(runtime: Runtime, uses: KeyUses, question: Question, now: float) -> KeyPage:
    """The keys that are asked for. A younger consumer that names the key of an older one does not have it."""
    found = nsmallest(question.limit + 1, _asked(runtime, uses, question), key=_place)
    rows = tuple(_row(credential, uses, now) for credential in found[: question.limit])
    more = len(found) > question.limit
    return KeyPage(int(now), uses.since, rows, f"{rows[-1].consumer}/{rows[-1].key}" if more else None)


def _asked(runtime: Runtime, uses: KeyUses, question: Question) -> Iterator[Credential]:
    since = question.used_since
    if since is not None and uses.newest < since:
        return
    for credential in runtime.credentials.values():
        if question.consumer and credential.consumer.key != question.consumer:
            continue
        if since is not None:
            last = uses.last(credential.digest)
            if last is None or last < since:
                continue
        if _place(credential) > question.after:
            yield credential


def _place(credential: Credential) -> tuple[str, str]:
    return credential.consumer.key, credential.name


def _row(credential: Credential, uses: KeyUses, now: float) -> KeyRow:
    return KeyRow(
        consumer=credential.consumer.key,
        key=credential.name,
        state=state_of(credential, now),
        last_used=uses.last(credential.digest),
        not_after=None if isinf(credential.not_after) else int(credential.not_after),
    )


def state_of(credential: Credential, now: float) -> KeyState:
    """Its state at `now`."""
    return key_state(
        now,
        not_before=credential.not_before,
        not_after=credential.not_after,
        revoked=credential.revoked,
        suspended=credential.consumer.entry.suspended,
        replaced=credential.replaced,
    )


def _json(status: int, body: object) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
