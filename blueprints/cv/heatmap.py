"""Where the classifier looked: Grad-CAM, for any architecture."""

import torch
from torch import nn


def last_spatial(network: nn.Module, size: int) -> str:
    """Name of the last module whose output still is a map [n, channels, h, w]."""
    seen: list[str] = []

    def note(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
            seen.append(name)

    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: note(name, out))
        for name, module in network.named_modules()
        if name
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return seen[-1]


def grad_cam(network: nn.Module, images: torch.Tensor, positive: int) -> torch.Tensor:
    """Heat [n, h, w] in 0..1 of the positive class for normalised images [n, 3, h, w].

    Selvaraju et al. 2017.
    """
    kept: list[torch.Tensor] = []
    layer = network.get_submodule(last_spatial(network, images.shape[-1]))
    hook = layer.register_forward_hook(lambda _m, _i, out: kept.append(out))
    with torch.enable_grad():
        logits = network(images)
        (gradient,) = torch.autograd.grad(logits[:, positive].sum(), kept[-1])
    hook.remove()
    heat = (gradient.mean((2, 3), keepdim=True) * kept[-1]).sum(1).relu()
    return (heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-9)).detach()
