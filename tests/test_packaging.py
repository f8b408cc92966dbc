"""pv_sparse works from a wheel, from an editable install, and from a bare checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY

PROBE = """
import pv_sparse, torch
from pv_sparse.resources import resource_dir
assert pv_sparse.list_weights(), "the zoo is empty"
assert len(pv_sparse.get_weights("tsn_efficientnet_lite0.in1k").categories) == 1000
assert (resource_dir("configs") / "model" / "tsn_resnet50.yaml").is_file()
import pytorchvideo.transforms
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
assert "PvSparseSearchPath" in str(Plugins.instance().discover(SearchPathPlugin))
print(pv_sparse.__file__, resource_dir("model_zoo"), resource_dir("configs"), sep="\\n")
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """What git would give: the files it knows, or may come to know."""
    folder = tmp_path_factory.mktemp("source") / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("needs a git checkout: the test packs the files that git knows")
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def fresh_environment(folder: Path) -> Path:
    """A virtual environment with our dependencies but without us; its python."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = output_of(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    # A path alone: the .pth files in it, our own editable install's among them, are not read.
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def output_of(*command: Path | str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def build(kind: str, checkout: Path, folder: Path) -> Path:
    """The wheel or the sdist of the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder]
    subprocess.run(command, cwd=checkout, check=True)
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))


def install(python: Path, *what: str) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([*pip, "install", *options, *what], check=True)


def probe(python: Path | str, folder: Path, **environment: str) -> list[Path]:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", PROBE],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment},
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_wheel(checkout, tmp_path):
    wheel = build("wheel", checkout, tmp_path)
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "pv_sparse",
        "hydra_plugins",
        f"pv_sparse-{wheel.name.split('-')[1]}.dist-info",
    }
    assert {"pv_sparse/py.typed", "pv_sparse/__init__.pyi", "pv_sparse/model_zoo/tsn.yaml"} <= set(names)
    assert "pv_sparse/configs/select/saliency.yaml" in names
    python = fresh_environment(tmp_path / "venv")
    install(python, str(wheel))
    package, zoo, configs = probe(python, tmp_path)
    assert package.is_relative_to(tmp_path / "venv")
    assert zoo.parent == configs.parent == package.parent
    assert output_of(python.with_name("pv-sparse"), "--version").startswith("pv-sparse, version")


@pytest.mark.slow
def test_an_editable_install(checkout, tmp_path):
    python = fresh_environment(tmp_path / "venv")
    install(python, "--editable", str(checkout))
    package, zoo, configs = probe(python, tmp_path)
    assert package == checkout / "pv_sparse" / "__init__.py"
    assert zoo.parent == configs.parent == checkout


@pytest.mark.slow
def test_a_bare_checkout(checkout, tmp_path):
    package, zoo, configs = probe(sys.executable, tmp_path, PYTHONPATH=str(checkout))
    assert package == checkout / "pv_sparse" / "__init__.py"
    assert zoo.parent == configs.parent == checkout


@pytest.mark.slow
def test_a_source_archive_holds_what_a_wheel_needs(checkout, tmp_path):
    with tarfile.open(build("sdist", checkout, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "configs/model/tsn_resnet50.yaml", "model_zoo/tsn.yaml"} <= names


def test_a_folder_that_is_gone_is_told(tmp_path):
    from pv_sparse.resources import resource_dir

    with pytest.raises(FileNotFoundError, match=r"the folder nowhere/ of pv_sparse is missing .*: install the package"):
        resource_dir("nowhere")


def test_the_parts_that_the_project_is_made_of():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    extras = {"train", "slurm", "flow", "study", "batch", "ray", "app", "export", "hf", "timm", "demo", "dev"}
    assert set(project["optional-dependencies"]) == extras
    assert not [text for text in project["dependencies"] if "<" in text]
