"""Export and clean all notebooks; fail, and say which, where that changed a file."""
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


def state() -> dict[str, str]:
    "Path → digest of all modules and notebooks."
    files = [*ROOT.glob("model_ops/**/*.py"), *ROOT.glob("nbs/**/*.ipynb")]
    return {str(f.relative_to(ROOT)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if ".ipynb_checkpoints" not in f.parts}


def main() -> int:
    before = state()
    for command in ("nbdev-export", "nbdev-clean"):
        subprocess.run([BIN / command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = state()
    changed = sorted(f for f in before | after if before.get(f) != after.get(f))
    for f in changed:
        print(f"✗ {f} was not what its notebook says (exported, cleaned): it is now; look at git diff, and commit", file=sys.stderr)
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
