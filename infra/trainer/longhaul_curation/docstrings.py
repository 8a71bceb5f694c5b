"""The documentation inside Python sources, as ``ast.get_docstring`` gives it: the one definition of what a docstring is.

Run as a process by curation (src/curation/read/python-docstrings.ts), with the standard library alone:
``python -I -S -W ignore docstrings.py``. It says ``{"python": "3.11"}``, then answers every line of standard input, a JSON
object ``{"source": …}``, with one line: ``{"docstrings": [[name, text], …]}`` in the order of the source, the module's own
under the name ``null``, or ``{"problem": …}`` for what Python can't parse.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def docstrings(source: str) -> Iterator[tuple[str | None, str]]:
    """Name and docstring of the module, its classes and functions, outer before inner, in the order of the source.

    Raises what ``ast.parse`` raises.
    """
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, DOCUMENTED):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "name", None), text
        inner = [child for child in ast.iter_child_nodes(node) if isinstance(child, HOLDS_STATEMENTS)]
        waiting.extend(reversed(inner))


def answer(line: str) -> dict[str, object]:
    """The answer to one request."""
    try:
        return {"docstrings": list(docstrings(json.loads(line)["source"]))}
    except SyntaxError as error:
        return {"problem": f"not Python: {error.msg} (line {error.lineno})"}
    except (ValueError, RecursionError, MemoryError) as error:
        return {"problem": f"not Python: {str(error) or type(error).__name__}"}


def main() -> None:
    """Answers requests until standard input ends."""
    print(json.dumps({"python": f"{sys.version_info.major}.{sys.version_info.minor}"}), flush=True)
    for line in sys.stdin.buffer:
        print(json.dumps(answer(line.decode())), flush=True)


if __name__ == "__main__":
    main()
