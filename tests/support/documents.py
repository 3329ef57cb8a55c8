"""Pages of Markdown, taken apart: blocks of code, code within text, links, headings."""

import re
import shlex
from itertools import product
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "results" / "README.md")
BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Code(NamedTuple):
    """A block, or code within a text.

    Attributes:
        language: What its fence says, empty for code within a text.
        text: The code.
    """

    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that a block is: its first line is a comment with nothing but the name."""
        named = re.match(r"# ([\w.]+\.(?:py|yaml))\n", self.text)
        return named[1] if named else None


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def codes(page: Path) -> list[Code]:
    """All code of a page, in its order."""
    text = page.read_text(encoding="utf-8")
    found = [(match.start(), Code(match[1], match[2])) for match in BLOCK.finditer(text)]
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", BLOCK.sub(lambda block: " " * len(block[0]), text)):
        found.append((match.start(), Code("", " ".join(match[1].split()))))
    return [code for _, code in sorted(found)]


def lines(block: str) -> list[str]:
    """List lines of a block of commands, continued ones joined, without comments."""
    joined = block.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.startswith("#")]


def commands(code: Code) -> list[list[str]]:
    """List the commands of a block for the shell, or of code within a text, as words."""
    if code.language == "sh":
        found = []
        for line in lines(code.text):
            words = shlex.split(line, comments=True)
            ends = [position for position, word in enumerate(words) if word == "&&"]
            found += [words[a + 1 : b] for a, b in zip([-1, *ends], [*ends, len(words)], strict=True)]
        return found
    # a program with options or a file: `kill`, `best` and `--option=value` are none
    looks = re.match(r"(?!-)[\w./]+ (-|[\w./]+\.(py|sh)\b|install\b|\.venv)|(source|srun|torchrun) ", code.text)
    return [shlex.split(code.text)] if not code.language and looks else []


def options(code: Code) -> list[str]:
    """Options of the command line within a text, as its words: ``--key=value``, with or without the dashes."""
    if code.language or not re.match(r"--\w|(model|data|trainer|checkpoint)\.\w[\w.]*=", code.text):
        return []
    return shlex.split(code.text if code.text.startswith("--") else f"--{code.text}")


def expand(text: str) -> list[str]:
    """List what a text with braces stands for: ``a{b,c}`` for ``ab`` and ``ac``."""
    parts = [part.split(",") if part.startswith("{") else [part] for part in re.split(r"(\{[^}]*\})", text)]
    return ["".join(choice).replace("{", "").replace("}", "") for choice in product(*parts)]


def links(page: Path) -> list[str]:
    """Where links and pictures of a page lead."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]


def anchors(page: Path) -> set[str]:
    """List what the headings of a page are called in links, by GitHub's rule."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
