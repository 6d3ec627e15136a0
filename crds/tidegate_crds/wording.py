"""Every pattern of the API in words, for messages: nobody should have to read a regular expression."""

from tidegate_crds.v1alpha1 import shapes

PATTERN_WORDS: dict[str, str] = {
    shapes.LABEL_PATTERN: "lower-case letters, digits and '-', beginning and ending with a letter or digit",
    shapes.SUBDOMAIN_PATTERN: "lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
    shapes.DURATION_PATTERN: "a duration such as 500ms, 30s, 5m or 1h30m, without spaces, signs or fractions",
    shapes.WORD_PATTERN: "letters, digits, spaces and '-_.:/@', beginning and ending with a letter or digit",
    r"^[A-Za-z0-9._:/@-]*\*?$": "a model name of letters, digits and '._:/@-', which may end in one '*'",
    r"^[A-Za-z0-9._:/@-]+$": "a model name of letters, digits and '._:/@-', without '*'",
    r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$": "the name of a namespace, or '*' for every namespace",
    r"^[-._a-zA-Z0-9]+$": "a key of the Secret's data: letters, digits and '-._'",
    r"^https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9._~/-]*)?$": (
        "an http or https URL without user, query or fragment, such as https://api.openai.com/v1"
    ),
    r"^[0-9a-f]{64}$": "the SHA-256 of the key as 64 lower-case hex digits",
    r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,6})?$": (
        "a number in quotes, without sign, separators, exponent or leading zeros and with at most six digits after the "
        'point, such as "5000000", or "10.50" for Cost'
    ),
    r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$": (
        "US dollars in quotes, without sign, separators, exponent or leading zeros and with at most six digits after "
        'the point, such as "0.15"'
    ),
    r"^[A-Za-z][A-Za-z0-9_+/-]*$": "an IANA time zone such as Europe/Berlin",
    r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$": (
        "a host name in lower case without port, such as ai.example.com or *.example.com"
    ),
    r"^/([A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*)?$": "a path that begins with '/' and does not end with one, such as /v1",
    r"^[a-z0-9!#$%&'*+.^_`|~-]+$": "a header name in lower case, such as x-experiment",
    r"^https?://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9._~/%-]*)?$": (
        "an http or https URL without user, query or fragment, such as https://idp.example.com/realms/main"
    ),
    r"^[!-~]+$": "printable ASCII characters without spaces",
    r"^[a-z0-9-]+$": "a header name in lower case, such as x-client-country",
    r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$": "an address or a network, such as 10.0.0.0/8 or 2001:db8::/32",
    r"^[!#-\[\]-~]+$": "printable ASCII characters without spaces, quotes and backslashes",
    r"^[ -~]*$": "printable ASCII characters",
    r"^[A-Za-z0-9.-]+$": "letters, digits, '.' and '-', such as 2024-10-21",
    r"^[^\x00-\x09\x0b-\x1f\x7f-\x9f]*$": "text without control characters; line breaks are fine",
    r"^apr-[A-Za-z2-7]+$": "the id that the answer approval_required gave, such as apr-mfrggzdfmztwq2lk",
    r"^(True|False|Unknown)$": "True, False or Unknown",
    r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$": "one CamelCase word",
}
