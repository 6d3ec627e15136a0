"""The process that holds the tokenizers: reads texts from standard input, writes how many tokens each has.

A process of its own because every tokenizer at hand keeps the interpreter's lock while it loads (0.1 s and more) and
while it counts; in the data plane that would hold up every stream. It ends when its input does, so it never outlives
the data plane, whatever ends that.

A question is the number of the encoding, the number of bytes (`QUESTION`) and so many bytes of UTF-8, surrogates
passed as they are; an answer is a number (`ANSWER`), below 0 when the text cannot be counted.
"""

import os
import struct
import sys
from typing import BinaryIO, Final

from tidegate_dataplane.counting.encodings import Encoding
from tidegate_dataplane.counting.tokenizer import count

QUESTION: Final = struct.Struct("<BI")
ANSWER: Final = struct.Struct("<q")
UNCOUNTED: Final = -1
ENCODINGS: Final = tuple(Encoding)
_NICENESS: Final = 5  # streams go first


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Until the questions end."""
    while len(head := questions.read(QUESTION.size)) == QUESTION.size:
        number, size = QUESTION.unpack(head)
        text = questions.read(size).decode("utf-8", "surrogatepass")
        found = count(text, ENCODINGS[number])
        answers.write(ANSWER.pack(UNCOUNTED if found is None else found))
        answers.flush()


def main() -> None:
    os.nice(_NICENESS)
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
