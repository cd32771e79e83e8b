"""Build the decision bento for one bundle: `python bentos/decision/build.py --model-tag T --out-tag-file F`.

The bundle must be in BentoML's model store (`BENTOML_HOME`) under the exact tag T. F receives the tag of the bento.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc", "build.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-tag", required=True, help="name:version of the bundle in BentoML's model store")
    parser.add_argument("--out-tag-file", required=True, type=Path, help="where to write the bento's tag")
    arguments = parser.parse_args()
    name, _, exact = arguments.model_tag.partition(":")
    if not name or exact in ("", "latest"):
        parser.error(f"--model-tag is {arguments.model_tag!r}; expected name:version with an exact version")
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    # A script's own folder comes first on the path, and its `build` or `metrics` are not the ones that others import.
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]
    tag = build(arguments.model_tag)
    arguments.out_tag_file.parent.mkdir(parents=True, exist_ok=True)
    arguments.out_tag_file.write_text(tag + "\n", encoding="utf-8")
    print(tag)


def build(model_tag: str) -> str:
    """Build and store the bento; its tag.

    Raises:
        bentoml.exceptions.NotFound: the model store has no such model.
    """
    import bentoml
    import yaml

    model = bentoml.models.get(model_tag)
    options: dict[str, Any] = yaml.safe_load((HERE / "bentofile.yaml").read_text(encoding="utf-8"))
    options["python"]["packages"] = [f"{name}=={version(name)}" for name in options["python"]["packages"]]
    options["labels"] |= model.info.labels
    options["models"] = [{"tag": str(model.tag), "alias": "decision_bundle"}]
    # The context holds what is included and nothing else: BentoML walks all of it, and a project's root has an
    # environment of a hundred thousand files and the model store itself in it.
    with tempfile.TemporaryDirectory(prefix="decision-bento-") as context:
        shutil.copytree(HERE, Path(context, "bentos/decision"), ignore=NOT_SHIPPED)
        shutil.copytree(PROJECT / "selective_autonomy", Path(context, "selective_autonomy"), ignore=NOT_SHIPPED)
        return str(bentoml.bentos.build(build_ctx=context, **options).tag)


if __name__ == "__main__":
    main()
