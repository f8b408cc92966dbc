"""How ECO's 3-D network starts from C3DRes18.

The rule of ECO-pytorch ("both" in its models.py): tensors of equal name and shape are copied; for ECO-Lite alone, the
first convolution gets the first 96 of C3DRes18's 128 input channels. The rest keeps its Xavier initialisation. There,
a running variance that finds no weights starts from 0; here from 1.
"""

from pathlib import Path

from pv_sparse.errors import WeightsError
from pv_sparse.models.resnet3d import C3DResNet18, ResNet3D
from pv_sparse.zoo.addresses import is_address
from pv_sparse.zoo.convert import convert
from pv_sparse.zoo.files import require, require_address
from pv_sparse.zoo.state_dicts import StateDict, read_state_dict
from pv_sparse.zoo.weights import get_weights, list_weights

# C3DRes18 has a convolution more before: what is ECO's first one is the second of this block there.
C3D_STEM = "res3a.conv2."


def load_c3d_weights(net: ResNet3D, source: str | Path, with_stem: bool) -> None:
    """Fill ECO's 3-D network, as far as the tensors fit.

    Args:
        net: of ECO or ECO-Lite.
        source: a file with the state dict of `C3DResNet18`, under our keys or those of ECO-pytorch, by its path or its
            address; or a name of the zoo, `c3dres18_16f.unifr_k400`.
        with_stem: whether the first convolution is filled too (ECO-Lite).

    Raises:
        WeightsError: a file of another network.
        FileNotFoundError: there is no such file.
    """
    state = _c3d_state(source)
    missing = [key for key in (f"{C3D_STEM}weight", f"{C3D_STEM}bias", "norm.weight") if key not in state]
    if missing:
        raise WeightsError(f"c3d_weights={str(source)!r} are not of C3DResNet18: {missing[0]} is missing")
    own = net.state_dict()
    fitting = {key: state[key] for key in own if key in state and state[key].shape == own[key].shape}
    fitting.pop("stem.weight", None)  # The stem of C3DRes18 reads pixels.
    fitting["stem.bias"] = state[f"{C3D_STEM}bias"]
    if with_stem:
        fitting["stem.weight"] = state[f"{C3D_STEM}weight"][:, : net.stem.in_channels]
    misfits = [key for key, tensor in fitting.items() if tensor.shape != own[key].shape]
    if misfits:
        raise WeightsError(
            f"c3d_weights={str(source)!r} do not fit {misfits[0]}: they are for width=1.0 and at most 128 channels"
        )
    net.load_state_dict(own | fitting)


def _file(source: str) -> str | Path:
    if source in list_weights():
        return require(get_weights(source).file, source)
    return require_address(source) if is_address(source) else source


def _c3d_state(source: str | Path) -> StateDict:
    state = read_state_dict(_file(str(source)))
    if "net.stem.weight" not in state:
        keys = [f"net.{key}" for key in C3DResNet18(num_classes=1).net.state_dict()]
        state = convert(state, "eco_pytorch", keys, may_hold_more=True)
    return {key.removeprefix("net."): tensor for key, tensor in state.items()}
