"""Provenance: what the code was, from files and not from memory."""

import subprocess
from pathlib import Path

from resources.provenance import code_of, commit_of, lock_hash, package_hash, platform_name


def write(root: Path) -> Path:
    trainer = root / "platform_assets/defs/models/demand/train.py"
    trainer.parent.mkdir(parents=True)
    trainer.write_text("def fit(): ...")
    (root / "resources").mkdir()
    (root / "resources/a.py").write_text("a")
    (root / "requirements.lock").write_text("polars==2.1.0")
    return trainer


def test_every_source_file_counts_and_nothing_else_does(tmp_path: Path):
    trainer = write(tmp_path)
    before = package_hash(tmp_path)
    (tmp_path / "resources/__pycache__").mkdir()
    (tmp_path / "resources/__pycache__/a.pyc").write_bytes(b"x")
    (tmp_path / "notes.py").write_text("outside the packages")
    assert package_hash(tmp_path) == before
    trainer.write_text("def fit(): return 1")
    changed = package_hash(tmp_path)
    assert changed != before
    (tmp_path / "resources/a.py").rename(tmp_path / "resources/b.py")
    assert package_hash(tmp_path) not in {before, changed}


def test_code_names_trainer_lock_and_commit(tmp_path: Path):
    trainer = write(tmp_path)
    assert code_of(trainer, root=tmp_path).commit is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *arguments], check=True)
    code = code_of(trainer, root=tmp_path)
    assert code.commit is not None
    assert len(code.commit) == 40
    trainer.write_text("changed")
    assert commit_of(tmp_path) == f"{code.commit}+"  # a commit does not name a tree with changes
    assert code_of(trainer, root=tmp_path).trainer_sha256 != code.trainer_sha256


def test_without_a_lock_the_installed_versions_are_hashed(tmp_path: Path):
    assert len(lock_hash(tmp_path)) == 64
    (tmp_path / "requirements.lock").write_text("a==1")
    assert lock_hash(tmp_path) != lock_hash(tmp_path.parent)


def test_the_platform_says_what_decides_the_last_bits():
    assert "python 3." in platform_name()
