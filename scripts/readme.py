"""Write README.md from nbs/index.ipynb: its text, with its code as code; one source, two readers."""
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def readme() -> str:
    "The README as the index notebook has it."
    cells = json.loads((ROOT / "nbs/index.ipynb").read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]).strip() for c in cells if c["cell_type"] == "markdown") + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
