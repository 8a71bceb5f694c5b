"""Writes data/dictionaries/*.jsonl from the unpacked packages that carry the texts (see data/SOURCES.md).

    python data/tools/dictionaries.py --jargon-text DIR --dict-devil DIR

Each DIR is where the Debian package of that name was unpacked. One entry is one document: {"id", "title", "text"}.
"""

import argparse
import gzip
import json
import re
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "dictionaries"
COARSE = re.compile(r"fuck|shit|nigger|faggot|cunt|bitch|rape\b|whore|\bass\b|tits", re.IGNORECASE)


def write(name: str, entries: list[tuple[str, str]]) -> None:
    """Leaves out entries with coarse words; keeps the order of the book."""
    OUT.mkdir(exist_ok=True)
    kept = [(title, text) for title, text in entries if not COARSE.search(text)]
    lines = [
        json.dumps({"id": f"{name}-{at:04}", "title": title, "text": text}, ensure_ascii=False)
        for at, (title, text) in enumerate(kept)
    ]
    (OUT / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{name}: {len(kept)} of {len(entries)} entries")


def jargon(package: Path) -> list[tuple[str, str]]:
    """Entries start with `   :term: pronunciation, grammar`; cross references lose their braces."""
    raw = (
        gzip.decompress((package / "usr/share/doc/jargon-text/jargon.txt.gz").read_bytes())
        .decode("utf-8")
        .replace("\u00a0", " ")
    )
    entries = []
    last = raw.index("Part", raw.index(":zorkmid:"))
    for block in re.split(r"\n(?=   :\S)", raw[:last])[1:]:
        head, _, rest = block.partition("\n")
        match = re.match(r"   :(.+?):\s*(.*)$", head)
        body = re.split(r"\n\S", rest)[0]
        text = "\n".join(line.strip() for line in body.strip().split("\n"))
        if match is None or not text:
            continue
        grammar = f" ({match[2].strip()})" if match[2].strip() else ""
        text = re.sub(r"\{([^{}]+)\}", r"\1", f"{match[1]}{grammar}\n\n{text}")
        entries.append((match[1], re.sub(r"\n{3,}", "\n\n", text)))
    return entries


def devil(package: Path) -> list[tuple[str, str]]:
    """Entries start with a word in capitals at the left edge."""
    raw = gzip.decompress((package / "usr/share/dictd/devil.dict.dz").read_bytes()).decode("ascii")
    entries = []
    for block in re.split(r"\n(?=[A-Z][A-Z' -]+[,.] )", raw[raw.index("ABASEMENT") : raw.rindex(" abcdef")]):
        title = re.match(r"[A-Z][A-Z' -]*", block)
        text = "\n".join(line.rstrip() for line in block.strip().split("\n"))
        if title is not None:
            entries.append((title[0], text.replace("_", "")))
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jargon-text", type=Path, required=True)
    parser.add_argument("--dict-devil", type=Path, required=True)
    args = parser.parse_args()
    write("jargon-file", jargon(args.jargon_text))
    write("devils-dictionary", devil(args.dict_devil))


if __name__ == "__main__":
    main()
