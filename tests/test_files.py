"""Where weights are looked for, and how they come from there."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from file_server import Fault, FileServer

from pv_sparse import WeightsError, create_tsn, get_weights, load_model, save_model
from pv_sparse.zoo import files, http_transfer
from pv_sparse.zoo.loading import find_weights

CONTENT = b"PK\x03\x04tensors!" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "tsn-1a2b3c4d.pth"
CLIP = torch.linspace(-1, 1, 3 * 2 * 32 * 32).reshape(1, 3, 2, 32, 32)


@pytest.fixture
def server():
    with FileServer(files={NAME: CONTENT}) as running:
        yield running


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A machine with nothing on it; its cache."""
    for name in (files.MIRROR, files.OFFLINE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(files.HOME, str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(http_transfer, "DELAYS_SECONDS", ())
    return tmp_path / "home" / "weights"


def record(server, **changes) -> dict:
    return {"urls": [server.url(NAME)], "sha256": SHA256, "size": len(CONTENT)} | changes


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Places


def test_downloads_go_into_one_folder(server, home, monkeypatch, tmp_path):
    assert files.require(record(server), "tsn", progress=False) == home / NAME
    monkeypatch.delenv(files.HOME)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert files.cache_folder() == tmp_path / "xdg" / "pv_sparse" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache_folder() == Path.home() / ".cache" / "pv_sparse" / "weights"


@pytest.mark.parametrize("place", ["home/weights", "torch/hub/checkpoints", "mirror"])
def test_what_lies_on_this_machine_is_not_downloaded(server, tmp_path, monkeypatch, place):
    monkeypatch.setenv(files.MIRROR, str(tmp_path / "mirror"))
    path = put(tmp_path / place / NAME)
    assert files.find(record(server)) == path
    assert files.require(record(server), "tsn") == path
    assert server.requests == []


def test_a_mirror_may_be_the_address_of_a_folder(server, tmp_path, monkeypatch):
    path = put(tmp_path / "with blanks" / NAME)
    monkeypatch.setenv(files.MIRROR, path.parent.as_uri())
    assert files.require(record(server), "tsn") == path


def test_a_mirror_is_asked_first(server, home, monkeypatch):
    server.files[f"mirror/{NAME}"] = CONTENT
    monkeypatch.setenv(files.MIRROR, server.url("mirror/"))
    files.require(record(server), "tsn", progress=False)
    assert [path for _, path, _ in server.requests] == [f"/mirror/{NAME}"]


@pytest.mark.parametrize("content", [None, b"another file"])
def test_a_mirror_that_lacks_the_file_is_passed_over(server, home, monkeypatch, content):
    if content is not None:
        server.files[f"mirror/{NAME}"] = content
    monkeypatch.setenv(files.MIRROR, server.url("mirror"))
    assert files.require(record(server), "tsn", progress=False).read_bytes() == CONTENT
    assert [path for _, path, _ in server.requests] == [f"/mirror/{NAME}", f"/{NAME}"]


def test_offline_means_no_request(server, home, monkeypatch, tmp_path):
    monkeypatch.setenv(files.OFFLINE, "1")
    words = r"of tsn is not here, and PV_SPARSE_OFFLINE forbids downloads: put tsn-1a2b3c4d\.pth into .*weights, or set"
    with pytest.raises(WeightsError, match=words):
        files.require(record(server), "tsn")
    monkeypatch.setenv(files.MIRROR, server.address)
    with pytest.raises(WeightsError, match=words):
        files.require(record(server), "tsn")
    assert server.requests == []
    on_disk = put(tmp_path / "elsewhere.pth").as_uri()
    assert files.require(record(server, urls=[server.url(NAME), on_disk]), "tsn").read_bytes() == CONTENT
    monkeypatch.setenv(files.OFFLINE, "off")
    assert files.require(record(server, name="b.pth"), "tsn", progress=False).read_bytes() == CONTENT


def test_a_damaged_file_is_told_and_brought_anew(server, home, caplog):
    put(home / NAME, CONTENT[:-1])
    assert files.require(record(server), "tsn", progress=False).read_bytes() == CONTENT
    told = f"{home / NAME}: it has 11999 bytes, not 12000: the file is damaged"
    assert told in caplog.text


@pytest.mark.parametrize("switch", [files.OFFLINE, None])
def test_a_damaged_file_is_told_where_it_cannot_be_replaced(server, home, monkeypatch, switch):
    put(home / NAME, CONTENT[:-1])
    if switch:
        monkeypatch.setenv(switch, "1")
    server.faults[NAME] = [Fault(status=404)]
    with pytest.raises(WeightsError, match="it has 11999 bytes, not 12000: the file is damaged"):
        files.require(record(server), "tsn", progress=False)


def test_a_shared_cache_that_cannot_be_written_is_read(server, home, monkeypatch):
    """No lock is taken for what is there."""
    put(home / NAME)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: pytest.fail("it was written"))
    assert files.require(record(server), "tsn") == home / NAME


# Addresses


def small_model(folder: Path, name: str = "model.safetensors") -> tuple[Path, torch.nn.Module]:
    model = create_tsn(num_classes=3, backbone="tiny").eval()
    build = {"builder": "create_tsn", "arguments": {"num_classes": 3, "backbone": "tiny"}}
    weights = replace(get_weights("tsn_efficientnet_lite0.in1k"), build=build, categories=("a", "b", "c"))
    folder.mkdir(exist_ok=True)
    save_model(model, folder / name, weights)
    return folder / name, model


def test_a_model_comes_from_an_address(server, home, tmp_path):
    path, model = small_model(tmp_path / "made")
    server.files["model.safetensors"] = path.read_bytes()
    url = server.url("model.safetensors")
    for address in (url, url, path.as_uri()):
        assert torch.equal(load_model(address, progress=False)(CLIP), model(CLIP))
    assert len(server.requests) == 1
    weights = find_weights(url)
    assert weights.name == url
    assert weights.categories == ("a", "b", "c")


def test_a_file_of_this_machine_is_read_where_it_is(tmp_path, home):
    path, first = small_model(tmp_path / "made")
    assert torch.equal(load_model(path.as_uri())(CLIP), first(CLIP))
    _, second = small_model(tmp_path / "made")
    assert torch.equal(load_model(path.as_uri())(CLIP), second(CLIP))
    assert not home.exists()


def test_files_of_one_name_do_not_meet(server, home, tmp_path):
    models = [small_model(tmp_path / folder) for folder in ("one", "two")]
    for number, (path, _) in enumerate(models):
        server.files[f"{number}/model.safetensors"] = path.read_bytes()
    for number, (_, model) in enumerate(models):
        assert torch.equal(load_model(server.url(f"{number}/model.safetensors"), progress=False)(CLIP), model(CLIP))


def test_a_backbone_comes_from_an_address(server, tmp_path):
    path, model = small_model(tmp_path / "made")
    server.files["model.safetensors"] = path.read_bytes()
    tuned = create_tsn(num_classes=5, backbone="tiny", backbone_weights=server.url("model.safetensors"))
    for key, tensor in tuned.backbone.state_dict().items():
        assert torch.equal(tensor, model.backbone.state_dict()[key])


@pytest.mark.parametrize("place", ["name", "fragment"])
@pytest.mark.parametrize("is_right", [True, False])
def test_the_hash_of_an_address_is_compared(server, home, place, is_right):
    digits = SHA256[:8] if is_right else "0000000a"
    name, fragment = (f"model-{digits}.pth", "") if place == "name" else ("model.pth", f"#sha256={digits}")
    server.files[name] = CONTENT
    if is_right:
        assert files.require_address(server.url(name) + fragment, progress=False).read_bytes() == CONTENT
        return
    with pytest.raises(WeightsError, match=f"its sha256 begins {SHA256[:8]}, not {digits}") as caught:
        files.require_address(server.url(name) + fragment, progress=False)
    assert ("where that is no hash, give the right one as" in str(caught.value)) == (place == "name")
    assert not [path for path in home.iterdir() if path.suffix != ".lock"]


def test_another_fragment_is_refused():
    with pytest.raises(WeightsError, match="behind # an address may have sha256= and 8 to 64 hexadecimal digits"):
        load_model("https://example.org/model.pth#md5=12")


# Hugging Face's hub

HUB_PROGRAM = """
import sys
from pv_sparse.zoo.files import require_address
print(require_address(sys.argv[1], progress=False))
"""


def from_hub(server, tmp_path, address: str) -> subprocess.CompletedProcess:
    """In a process of its own: the library reads HF_ENDPOINT as it is imported."""
    pytest.importorskip("huggingface_hub", reason='needs huggingface_hub: pip install "pv-sparse[hf]"')
    environment = {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HUB_PROGRAM, address],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("fragment", ["", f"#sha256={SHA256}"])
def test_a_file_comes_from_the_hub(server, home, tmp_path, fragment):
    server.files["owner/repo/resolve/v1/deep/model.pth"] = CONTENT
    done = from_hub(server, tmp_path, f"hf://owner/repo@v1/deep/model.pth{fragment}")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.is_relative_to(tmp_path / "hf")  # the library's own cache
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://owner/repo/missing.pth", "hf://owner/repo/missing.pth: "),
        (
            "hf://owner/repo/model.pth#sha256=00000000",
            f"its sha256 begins {SHA256[:8]}, not 00000000",
        ),
        ("hf://owner/model.pth", "an address of the hub is hf://owner/repo/file"),
    ],
)
def test_the_hubs_faults_are_told(server, home, tmp_path, address, words):
    server.files["owner/repo/resolve/main/model.pth"] = CONTENT
    done = from_hub(server, tmp_path, address)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("pv_sparse.errors.WeightsError: ")
    assert words in last


def test_the_hub_needs_its_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r'needs Hugging Face\'s library: pip install "pv-sparse\[hf\]"'):
        load_model("hf://owner/repo/model.safetensors")


# Never anything else than what was asked for


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(status=500), Fault(status=200, body=b"<html>404</html>")])
def test_no_weights_no_model(server, home, fault):
    server.faults[NAME] = [fault]
    with pytest.raises(WeightsError, match=f"{NAME} could not be had"):
        load_model(server.url(NAME), progress=False)


@pytest.mark.parametrize("num_classes", [None, 7])
def test_no_weights_of_the_zoo_no_model(home, monkeypatch, num_classes):
    monkeypatch.setenv(files.OFFLINE, "1")
    with pytest.raises(WeightsError, match=r"of trn_bninception\.csail_jester is not here"):
        load_model("trn_bninception.csail_jester", num_classes)


def test_members_of_an_archive_stay_inside(tmp_path, home):
    """torch's files are archives: nothing of them is unpacked."""
    whole = io.BytesIO()
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 4)}}, whole)
    with zipfile.ZipFile(whole, "a") as archive:
        archive.writestr("../../evil.txt", "evil")
        archive.writestr("/tmp/pv_sparse_evil.txt", "evil")
    path = put(tmp_path / "deep" / "er" / "model.pth", whole.getvalue())
    with pytest.raises(WeightsError):
        load_model(path)
    with pytest.raises(WeightsError):
        load_model(path.as_uri())
    assert not list(tmp_path.rglob("*evil*"))
    assert not Path("/tmp/pv_sparse_evil.txt").exists()
