"""What importing costs, which names there are, and which way the imports point."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pv_sparse

PACKAGE = Path(pv_sparse.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# From the bottom up; neighbours on one level do not know each other.
LEVELS = (
    {"errors", "resources", "compat", "parallel", "whole_files", "versions", "drawing"},
    {"data.segments", "data.guided", "data.rules", "data.original_rules"},  # pure functions of frame numbers
    {"data", "transforms"},
    # Records and files, which models start from
    {
        "zoo.addresses",
        "zoo.file_kinds",
        "zoo.download",
        "zoo.http_transfer",
        "zoo.transfer",
        "zoo.files",
        "zoo.weights",
        "zoo.state_dicts",
        "zoo.layer_names",
        "zoo.convert",
    },
    {"models"},
    {"zoo"},
    {"inference", "looking"},
    {"early_exit", "moments"},
    {"recognition"},
    {"sheet", "spotting", "doctor", "slowfast", "online", "batch", "bench"},
    {"plugin", "recipes", "watch"},
    {"study"},
    {"cli_options"},
    {
        "recognize_command",
        "batch_command",
        "watch_command",
        "export_command",
        "bench_command",
        "index_command",
        "flow_command",
        "zoo_command",
        "train_command",
        "study_command",
        "evaluate_command",
    },
    {"cli_inference", "cli_zoo", "cli_study"},
    {"cli"},
    {"__main__"},
)
HOST_MODULES = {
    "pv_sparse.compat",
    "pv_sparse.plugin",
    "pv_sparse.doctor",
    "pv_sparse.data.clip_sampling",
    "pv_sparse.data.encoded_video",
    "pv_sparse.data.factories",
    "pv_sparse.data.frame_datasets",
    "pv_sparse.data.frame_lists",
    "pv_sparse.data.path_handler",
}
HOMES_OF_EXTRAS = {  # each imports its extra when that is used, not before
    "pv_sparse.data.corpus_index",  # pyarrow
    "pv_sparse.batch.ray_engine",  # ray
    "pv_sparse.batch.shards",  # pyarrow
    "pv_sparse.data.flow",  # cv2
    "pv_sparse.inference.export_onnx",  # onnx, onnxruntime
    "pv_sparse.models.feature_extraction",  # timm
    "pv_sparse.watch.server",  # fastapi, uvicorn
    "pv_sparse.zoo.transfer",  # huggingface_hub
}
# lightning, torchmetrics, hydra, omegaconf, matplotlib, submitit, cv2
HOMES_OF_TRAINING = ("pv_sparse.recipes.", "pv_sparse.study.")
EXTRAS = {
    "lightning",
    "torchmetrics",
    "hydra",
    "submitit",
    "matplotlib",
    "cv2",
    "ray",
    "pyarrow",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "uvicorn",
    "timm",
    "fastapi",
    "huggingface_hub",
}


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names if names <= MODULES.keys() else {node.module, *names}  # a package is but the way to those


def own_imports(module: str) -> set[str]:
    return {name for name in imported_names(MODULES[module]) if name in MODULES} - {"pv_sparse", module}


def level_of(module: str) -> int:
    part, _, module_of_part = module.removeprefix("pv_sparse.").partition(".")
    own = {f"{part}.{module_of_part}"} if any(f"{part}.{module_of_part}" in names for names in LEVELS) else {part}
    return next(height for height, names in enumerate(LEVELS) if own & names)


@pytest.mark.parametrize(
    "statement", ["import pv_sparse", "import sys; sys.argv[1:] = ['--help']; import pv_sparse.cli"]
)
def test_importing_loads_neither_torch_nor_the_host(statement):
    code = f"{statement}; import sys; print(sorted({{'torch', 'pytorchvideo', 'av', 'numpy'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_loads_neither_torch_nor_the_host():
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pv_sparse", "--help"], capture_output=True, text=True, check=True
    )
    assert "recognize" in found.stdout
    loaded = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "pv_sparse.cli" in loaded
    assert not loaded & {"torch", "pytorchvideo", "av", "numpy"}


def test_every_public_name_is_there():
    for name in pv_sparse.__all__:
        assert getattr(pv_sparse, name) is not None
        assert name in dir(pv_sparse)
    assert pv_sparse.data.segments.segment_indices is pv_sparse.segment_indices


def test_the_stub_names_what_the_module_has():
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text())
    homes = {a.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names}
    packages = {name for name, home in homes.items() if home == "pv_sparse"}
    assert packages == set(pv_sparse._SUBPACKAGES)
    assert {name: home for name, home in homes.items() if name not in packages} == pv_sparse._HOMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pv_sparse' has no attribute 'segments_indices'"):
        pv_sparse.segments_indices  # noqa: B018


def test_imports_point_down():
    for module in MODULES.keys() - {"pv_sparse"}:
        for imported in own_imports(module):
            same_part = module.split(".")[1] == imported.split(".")[1]
            lower = level_of(imported) <= level_of(module) if same_part else level_of(imported) < level_of(module)
            assert lower, f"{module} imports {imported}"


def test_imports_make_no_circle():
    order = graphlib.TopologicalSorter({module: own_imports(module) for module in MODULES}).static_order()
    assert set(order) == set(MODULES)  # static_order raises CycleError where there is none


def test_the_host_and_the_extras_are_imported_where_they_belong():
    for module, path in MODULES.items():
        roots = {name.split(".")[0] for name in imported_names(path)}
        assert "pytorchvideo" not in roots or module in HOST_MODULES, module
        assert not roots & EXTRAS or module in HOMES_OF_EXTRAS or module.startswith(HOMES_OF_TRAINING), module


@pytest.mark.parametrize("package", ["data", "recipes"])
def test_the_lazy_names_of_a_package_are_those_of_its_stub(package):
    module = getattr(pv_sparse, package)
    stub = ast.parse((PACKAGE / package / "__init__.pyi").read_text())
    homes = {alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(homes) == set(module.__all__)
    for name, home in homes.items():
        assert getattr(module, name) is getattr(sys.modules[home], name)
        assert name in dir(module)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing
