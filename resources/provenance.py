"""Which code, lock and machine made a model version."""

import hashlib
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from platform_assets.science.manifest import Code

ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGES: Final = ("platform_assets", "resources", "sensors", "feature_repo", "serving")
_SUFFIXES: Final = frozenset({".py", ".yaml"})


def code_of(trainer: Path, *, root: Path = ROOT) -> "Code":
    """Hashes of the platform's files, of the model's `train.py` and of the lock; the commit where git knows one.

    A commit alone does not name the code of a working tree that has changes, so the files are hashed.
    """
    from platform_assets.science.manifest import Code

    return Code(
        package_sha256=package_hash(root),
        trainer_sha256=hashlib.sha256(trainer.read_bytes()).hexdigest(),
        lock_sha256=lock_hash(root),
        commit=commit_of(root),
    )


def package_hash(root: Path = ROOT) -> str:
    """One SHA-256 over names and contents of the platform's Python and YAML files."""
    digest = hashlib.sha256()
    paths = (path for package in _PACKAGES for path in (root / package).rglob("*") if path.suffix in _SUFFIXES)
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def lock_hash(root: Path = ROOT) -> str:
    """SHA-256 of requirements.lock; where the package is installed without it, of the installed versions."""
    lock = root / "requirements.lock"
    if lock.is_file():
        return hashlib.sha256(lock.read_bytes()).hexdigest()
    from importlib.metadata import distributions

    installed = sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()})
    return hashlib.sha256("\n".join(installed).encode()).hexdigest()


def commit_of(root: Path = ROOT) -> str | None:
    """Commit that is checked out, with `+` where tracked files differ from it; None outside a git checkout."""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def platform_name() -> str:
    """What decides the last bits of a floating-point result: machine, CPU model, Python."""
    return f"{platform.system()} {platform.machine()} {_cpu_model()} python {platform.python_version()}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
