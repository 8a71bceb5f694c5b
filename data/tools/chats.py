"""Writes data/chats/*.jsonl: dialogues in UltraChat's form, {"id", "data": [user, assistant, user, …]}, one per line.

    python data/tools/chats.py        (Python 3.11; needs data/books and data/dictionaries)

Nothing in them is made up: every answer is quoted from the documentation of Python's standard library, from a play in
data/books or from a dictionary in data/dictionaries; only the questions around the quotations are ours, by template.
`dialogues.jsonl` (several turns) is the SFT set; `instructions.jsonl` (one turn) is instruction data for the short mix.
"""

import hashlib
import importlib
import inspect
import json
import random
import re
import textwrap
from pathlib import Path

DATA = Path(__file__).resolve().parent.parent
MODULES = [
    "argparse",
    "ast",
    "asyncio",
    "base64",
    "bisect",
    "calendar",
    "cmd",
    "codecs",
    "collections",
    "configparser",
    "contextlib",
    "copy",
    "csv",
    "datetime",
    "decimal",
    "difflib",
    "email",
    "fileinput",
    "fnmatch",
    "fractions",
    "ftplib",
    "functools",
    "gettext",
    "glob",
    "graphlib",
    "gzip",
    "heapq",
    "hmac",
    "html",
    "http.client",
    "http.cookies",
    "imaplib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "linecache",
    "locale",
    "logging",
    "mailbox",
    "math",
    "mimetypes",
    "numbers",
    "operator",
    "os",
    "os.path",
    "pathlib",
    "pdb",
    "pickle",
    "platform",
    "plistlib",
    "poplib",
    "pprint",
    "queue",
    "random",
    "re",
    "sched",
    "secrets",
    "selectors",
    "shelve",
    "shlex",
    "shutil",
    "smtplib",
    "socket",
    "sqlite3",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "timeit",
    "tokenize",
    "traceback",
    "types",
    "typing",
    "unittest",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "wave",
    "weakref",
    "xml.etree.ElementTree",
    "zipfile",
    "zoneinfo",
]
MAX_ANSWER = 1100
HELD_OUT_SHARE = 0.15


def held_out(text: str) -> bool:
    """Curation's rule (src/curation/read/split.ts), with a generous share: no dialogue quotes a held-out book."""
    digest = hashlib.sha256(b"longhaul.held-out/1\n" + text.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48 < HELD_OUT_SHARE


def sections(doc: str) -> list[str]:
    """The paragraphs of a docstring, runs of examples kept whole."""
    return [part.strip("\n") for part in re.split(r"\n\s*\n", inspect.cleandoc(doc)) if part.strip()]


def is_example(section: str) -> bool:
    return section.lstrip().startswith(">>>")


def documented(module_name: str) -> list[tuple[str, object]]:
    """Public functions and classes of a module that have documentation of their own, sorted by name."""
    module = importlib.import_module(module_name)
    found = []
    for name in sorted(vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        if getattr(value, "__module__", None) not in (module_name, module_name.split(".")[0], f"_{module_name}"):
            continue
        doc = inspect.getdoc(value)
        if doc and len(doc) > 60:
            found.append((f"{module_name}.{name}", value))
    return found


def signature(value: object) -> str | None:
    if not callable(value):
        return None
    try:
        text = str(inspect.signature(value))
    except (TypeError, ValueError):
        return None
    return None if " at 0x" in text or len(text) > 300 else text


def about_function(name: str, value: object) -> list[str] | None:
    """What does it do? How is it called? What else should I know? An example?"""
    parts = sections(inspect.getdoc(value) or "")
    prose = [part for part in parts if not is_example(part)]
    examples = [part for part in parts if is_example(part)]
    if not prose:
        return None
    kind = "class" if inspect.isclass(value) else "function"
    turns = [f"What does the Python {kind} {name} do?", textwrap.shorten(prose[0], MAX_ANSWER)]
    how = signature(value)
    if how is not None:
        short = name.rsplit(".", 1)[-1]
        turns += ["How is it called?", f"Its signature is:\n\n{short}{how}"]
    rest = "\n\n".join(prose[1:])
    if rest:
        turns += ["What else should I know about it?", rest[:MAX_ANSWER].rsplit("\n", 1)[0] or rest[:MAX_ANSWER]]
    if examples:
        turns += ["Can you show me an example?", "\n".join(examples)[:MAX_ANSWER]]
    return turns if len(turns) >= 4 else None


def speeches(play: Path) -> list[tuple[str, str]]:
    """(speaker, lines) in order, from the layout of data/books/shakespeare-*.txt."""
    found = []
    for block in play.read_text(encoding="utf-8").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith("[")]
        if len(lines) > 1 and re.fullmatch(r"[A-Z][A-Za-z' ]+\.", lines[0]):
            found.append((lines[0].rstrip(".").title(), "\n".join(lines[1:])))
    return found


def about_play(play: Path, rng: random.Random) -> list[str]:
    """Who says this? What is the answer, and whose? Four speeches in a row, three questions."""
    title = play.read_text(encoding="utf-8").split("\n", 1)[0]
    said = [speech for speech in speeches(play) if len(speech[1]) < 500]
    start = rng.randrange(len(said) - 3)
    (who, line), *rest = said[start : start + 4]
    turns = [f'Who says "{line.splitlines()[0]}" in {title}?', f"{who} says it. The whole speech is:\n\n{line}"]
    for question in ("Who speaks next, and what do they say?", "And then?", "How does it go on?"):
        speaker, answer = rest.pop(0)
        turns += [question, f"{speaker}:\n\n{answer}"]
    return turns


def entries(name: str) -> list[tuple[str, str]]:
    lines = (DATA / "dictionaries" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    found = [(entry["title"], entry["text"]) for entry in map(json.loads, lines)]
    return [(title, text) for title, text in found if 80 < len(text) < MAX_ANSWER]


def about_words(book: str, words: list[tuple[str, str]]) -> list[str]:
    """Several words of one dictionary, one after the other."""
    turns = []
    for at, (title, text) in enumerate(words):
        turns += [f'What does {book} say about "{title}"?' if at == 0 else f'And about "{title}"?', text]
    return turns


def write(name: str, dialogues: list[list[str]]) -> None:
    (DATA / "chats").mkdir(exist_ok=True)
    lines = [
        json.dumps({"id": f"{name}-{at:04}", "data": turns}, ensure_ascii=False) for at, turns in enumerate(dialogues)
    ]
    (DATA / "chats" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(dialogues)} dialogues, {sum(map(len, dialogues))} messages, {sum(map(len, lines)):,} bytes")


def main() -> None:
    rng = random.Random(1)
    functions = [pair for module in MODULES for pair in documented(module)]
    code = [turns for name, value in functions if (turns := about_function(name, value)) is not None]
    every_play = sorted((DATA / "books").glob("shakespeare-*.txt"))
    plays = [play for play in every_play if not held_out(play.read_text(encoding="utf-8"))]
    drama = [about_play(play, rng) for play in plays for _ in range(15)]
    jargon, devil = entries("jargon-file"), entries("devils-dictionary")
    rng.shuffle(jargon)
    rng.shuffle(devil)
    words = [about_words("the Jargon File", jargon[at : at + 3]) for at in range(0, 300, 3)]
    words += [about_words("the Devil's Dictionary", devil[at : at + 3]) for at in range(0, 150, 3)]
    dialogues = code + drama + words
    rng.shuffle(dialogues)
    write("dialogues", dialogues)
    single = [about_words("the Jargon File", [entry]) for entry in jargon[300:700]]
    single += [about_words("the Devil's Dictionary", [entry]) for entry in devil[150:400]]
    rng.shuffle(single)
    write("instructions", single)


if __name__ == "__main__":
    main()
