"""The reference, docs/reference.md, made from the commands and from the schema of experiments files; and the schema
itself, experiments.schema.json.

python benchmarks/reference.py            # writes both
python benchmarks/reference.py --check    # exits 1 where they say something else
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import reference_commands, reference_fields
from benchmarks.pages import ROOT, Part
from bnexp.fileschema import schema_text
from bnexp.starting import SCHEMA

PAGE = "docs/reference.md"
PARTS = {
    Part(PAGE, "commands", "reference.py"): reference_commands.render,
    Part(PAGE, "fields", "reference.py"): reference_fields.render,
}


def made(page: str) -> dict[str, str]:
    """What should stand in each file; `page` is the reference as it stands."""
    for part, render in PARTS.items():
        page = part.replaced(page, render())
    return {PAGE: page, SCHEMA: schema_text()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file would change")
    options = parser.parse_args()
    for name, text in made((ROOT / PAGE).read_text()).items():
        path = ROOT / name
        if options.check and (not path.exists() or path.read_text() != text):
            sys.exit(f"{name} is not what the program says: run python benchmarks/reference.py")
        if not options.check:
            path.write_text(text)


if __name__ == "__main__":
    main()
