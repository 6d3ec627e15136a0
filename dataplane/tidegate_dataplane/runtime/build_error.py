"""Why a snapshot did not become a Runtime."""


class BuildError(Exception):
    """The snapshot cannot become a Runtime; the message names the object and what is wrong with it."""
