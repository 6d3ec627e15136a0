"""Text that somebody else wrote, made fit for a terminal."""


def printable(text: str) -> str:
    """In one line; control characters, which could move the cursor or hide something, are shown as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in " ".join(text.split())
    )
