"""What a call used, when it is over: the provider's report; of what it does not say, a count; else an estimate.

A report that ends before the text does (the caller left, the limit ran out) is completed by a count of the text since.
`source` is the weakest of what the numbers are made of.
"""

from msgspec.structs import replace

from tidegate_dataplane.counting.counter import TokenCounter
from tidegate_dataplane.counting.prompt import Counted
from tidegate_dataplane.ledger.learnt import GENERATING
from tidegate_dataplane.pricing.usage import Usage
from tidegate_dataplane.proxy.events import EventRelay
from tidegate_dataplane.proxy.intake import Prompt
from tidegate_dataplane.proxy.reports import Report, count_pictures, read_usage
from tidegate_dataplane.proxy.usage import COUNTED, ESTIMATED
from tidegate_dataplane.snapshot.entries import Operation

_NO_TEXT = Counted(0, True)


class Measuring:
    """Works out usage. Awaits only where something must be counted."""

    def __init__(self, counter: TokenCounter | None = None) -> None:
        self.counter = counter or TokenCounter()

    async def prompt(self, operation: Operation, prompt: Prompt, model: str) -> Usage:
        """Of a call that got nothing, though a provider may have read it."""
        return await self._complete(None, operation, prompt, model, _NO_TEXT)

    async def stream(self, operation: Operation, prompt: Prompt, model: str, events: EventRelay) -> Usage:
        """Of a stream as far as it was passed on."""
        if events.delivered.is_empty():
            if events.report is not None and events.report.has_input:
                return events.report.usage
            text = _NO_TEXT
        else:
            text = await self.counter.delivered(events.delivered, model)
        return await self._complete(events.report, operation, prompt, model, text)

    async def whole(self, operation: Operation, prompt: Prompt, model: str, body: bytes) -> Usage:
        """Of an answer that was not streamed."""
        report = read_usage(body)
        if operation is Operation.IMAGE:
            usage = await self._complete(report, operation, prompt, model, _NO_TEXT)
            return replace(usage, images=count_pictures(body))
        if operation not in GENERATING or (report is not None and report.usage.output):
            return await self._complete(report, operation, prompt, model, _NO_TEXT)
        text = await self.counter.answer(body, model)
        return await self._complete(report, operation, prompt, model, text)

    async def _complete(
        self, report: Report | None, operation: Operation, prompt: Prompt, model: str, text: Counted
    ) -> Usage:
        """The report, with `text` tokens more of output; the prompt is counted where the report lacks it."""
        if report is not None and report.has_input:
            usage = report.usage
            if not text.tokens:
                return usage
            return replace(usage, output=usage.output + text.tokens, source=_source(text.exact))
        counted = await self.counter.prompt(operation, prompt.fields, prompt.prompt_bytes, model)
        source = _source(counted.exact and text.exact)
        if report is None:
            return Usage(counted.tokens, text.tokens, source=source)
        return replace(report.usage, input=counted.tokens, output=report.usage.output + text.tokens, source=source)


def at_once(events: EventRelay, input: int) -> Usage:
    """What can be said of a stream without counting; `input` is the estimate of the prompt."""
    report = events.report
    if report is None:
        return Usage(input, events.estimate, source=ESTIMATED)
    return report.usage if report.has_input else replace(report.usage, input=input, source=ESTIMATED)


def _source(exact: bool) -> str:
    return COUNTED if exact else ESTIMATED
