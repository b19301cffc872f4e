"""Whether a model may be trusted, found out in a process of its own.

There its files are hashed, its network is opened and asked, its labels and figures are compared
(`registry.load`). A network that ends or stalls its process harms nobody else's, and no page holds one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cxr_core.errors import ModelError
from cxr_core.settings import PREFIX, ROOT

LONGEST_S = 300.0


class Unfinished(ModelError):
    """The check was not done in time: nothing is known of the model, and it may be tried again."""


def check(folder: Path) -> None:
    """Return if the model in this folder has passed every check.

    Raises:
        Unfinished: it was not done in time.
        ModelError: it has not; or its process died.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter and module
            [sys.executable, "-m", "cxr_core.worklist.model_check", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=ROOT,
            env=environment,
            timeout=LONGEST_S,
            check=False,
        )
        said = json.loads(done.stdout.splitlines()[-1])
        fault = str(said["fault"])
    except subprocess.TimeoutExpired as exc:
        raise Unfinished(f"{folder.name}: not checked within {LONGEST_S:.0f} s; try again") from exc
    except (IndexError, KeyError, ValueError, TypeError) as exc:
        raise ModelError(f"{folder.name}: its network ended the process that was to check it") from exc
    if fault:
        raise ModelError(fault)


def main(folder: Path) -> None:
    """Say on the last line of stdout, as JSON, why the model may not be trusted; an empty text if it may."""
    from cxr_core.inference import registry

    try:
        registry.load(folder, threads=1)
    except ModelError as exc:
        fault = str(exc)
    else:
        fault = ""
    sys.stdout.write("\n" + json.dumps({"fault": fault}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
