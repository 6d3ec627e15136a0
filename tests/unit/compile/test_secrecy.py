"""What must never show: values that stood in Secrets or were pasted into the wrong field."""

from typing import Any

from tidegate_operator.compile import Memo, compile_world
from tidegate_operator.world import Facts, Kind, ObjectKey, Resource, SecretKey, World

PROVIDER_KEY = "provider-key-that-must-not-show"
CALLER_KEY = "caller-key-that-must-not-show"


def test_reprs_hide_secrets() -> None:
    backend = ObjectKey(Kind.BACKEND, "a", "openai")
    consumer = ObjectKey(Kind.CONSUMER, "a", "app")
    reference = {"name": "keys", "key": "caller"}
    world = World(
        {
            backend: Resource(
                backend,
                {
                    "provider": "OpenAI",
                    "endpoint": "https://example.com/v1",
                    "credential": {"secretRef": {"name": "keys", "key": "provider"}},
                },
            ),
            consumer: Resource(consumer, {"credentials": {"apiKeys": [{"name": "k", "secretRef": reference}]}}),
        },
        {SecretKey("a", "keys"): {"provider": PROVIDER_KEY.encode(), "caller": CALLER_KEY.encode()}},
    )
    memo = Memo()
    compiled = compile_world(world, Facts(), None, memo)
    assert compiled.credentials == {"a.openai": PROVIDER_KEY.encode()}
    text = repr(compiled) + repr(memo) + repr(memo.consumers) + repr(compiled.served) + repr(world)
    assert PROVIDER_KEY not in text
    assert CALLER_KEY not in text


def test_no_finding_repeats_what_was_written() -> None:
    pasted = "sk-pasted-into-the-wrong-field"
    specs: dict[ObjectKey, dict[str, Any]] = {
        ObjectKey(Kind.BACKEND, "a", "endpoint"): {"provider": "OpenAI", "endpoint": pasted},
        ObjectKey(Kind.BACKEND, "a", "provider"): {"provider": pasted},
        ObjectKey(Kind.BACKEND, "a", "credential"): {"provider": "Mock", "credential": pasted},
        ObjectKey(Kind.BACKEND, "a", "ca"): {
            "provider": "OpenAI",
            "endpoint": "https://example.com",
            "tls": {"caBundle": pasted},
        },
        ObjectKey(Kind.CONSUMER, "a", "hash"): {"credentials": {"apiKeys": [{"name": "k", "sha256": pasted}]}},
        ObjectKey(Kind.CONSUMER, "a", "time"): {
            "credentials": {"apiKeys": [{"name": "k", "sha256": "0" * 64, "notAfter": pasted}]}
        },
        ObjectKey(Kind.ROUTE, "a", "timeout"): {"models": [pasted + "?"], "targets": pasted, "timeout": pasted},
        ObjectKey(Kind.QUOTA, "a", "zone"): {
            "targetRefs": [{"kind": "Namespace"}],
            "limits": [{"unit": "Tokens", "amount": "1", "window": {"calendar": "Day", "timeZone": pasted}}],
        },
    }
    compiled = compile_world(World({key: Resource(key, spec) for key, spec in specs.items()}), Facts())
    for verdict in compiled.verdicts.values():
        assert verdict.errors
        assert pasted not in repr(verdict)
