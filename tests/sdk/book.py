"""Reads the tables of docs/src/clients.md."""

import pathlib
import re

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "src" / "clients.md"


def section(title):
    """The text below a heading."""
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title):
    """The rows of a section's table that begin with a name: the names in the first cell, and the other cells."""
    for line in section(title).splitlines():
        if line.startswith("| `"):
            first, *cells = (cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|"))
            yield re.findall("`([^`]+)`", first), cells
