"""The command line: one thin function a verb, no logic. Everything heavy is imported inside the verb that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cutis import __version__
from cutis.errors import CutisError

__all__ = ["app", "main"]

app = App(
    name="cutis",
    help="Analyse dermoscopic images of skin lesions on this device. Research use only, never a diagnosis.",
    version=__version__,
    help_format="plaintext",  # Markdown would load a parser: 0.15 s of every --help
)


@app.command
def doctor(*, json: bool = False) -> int:
    """Say what works on this machine, what is missing, and what to do about it.

    Parameters
    ----------
    json
        Print JSON instead of a table.
    """
    from cutis.doctor import report

    return report(as_json=json)


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    try:
        code = app(result_action="return_value")
    except CutisError as error:
        print(f"cutis: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("cutis: stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
