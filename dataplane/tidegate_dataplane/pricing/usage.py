"""What a call used, in the units that have a price."""

from msgspec import Struct


class Usage(Struct, frozen=True, gc=False):
    """Tokens and pieces of one call. `source` says how they are known: Reported, Counted or Estimated.

    As OpenAI reports them, `cached`, `cache_write`, `input_audio` and `input_image` are parts of `input`, and
    `reasoning`, `output_audio` and `output_image` parts of `output`; none of them is added to those. `images` counts
    the pictures that were made. `service` is the service tier that the provider says it gave, "" when it says none.
    """

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0
    input_image: int = 0
    output_image: int = 0
    images: int = 0
    source: str = "Estimated"
    service: str = ""
