"""The images under test: those that deploy/images/build.py makes, built from what the checkout holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_BUILD = Path(__file__).resolve().parents[3] / "deploy" / "images" / "build.py"
TAG = "e2e"


class ImagesMissing(RuntimeError):
    """The images could not be built; the message says what to do."""


def ensure_images() -> Path:
    """The folder with dataplane.tar and operator.tar, built first when they are not there. Raises ImagesMissing.

    TIDEGATE_IMAGES names a folder with others, such as those of a release.
    """
    if given := os.environ.get("TIDEGATE_IMAGES"):
        return Path(given)
    ended = subprocess.run([sys.executable, str(_BUILD)], stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode != 0:
        raise ImagesMissing("the images were not built, or are larger than they may be; see above")
    print(ended.stdout, end="", file=sys.stderr)
    return Path(ended.stdout.strip().splitlines()[-1].removeprefix("archives: "))
