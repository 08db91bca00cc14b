"""The whole of a policy as one ONNX graph: scaling of observations, network, squashing, scaling and
clipping of actions.
"""

from pathlib import Path

import gymnasium
import onnx
import torch
from stable_baselines3.common.base_class import BaseAlgorithm


class Whole(torch.nn.Module):
    """What SB3's `predict` does, as one graph: network, then scaling and clipping of actions."""

    def __init__(self, model: BaseAlgorithm) -> None:
        super().__init__()
        self.policy, space = model.policy, model.action_space
        self.boxed = isinstance(space, gymnasium.spaces.Box)
        self.squashed = self.boxed and model.policy.squash_output
        if self.boxed:
            self.register_buffer("low", torch.as_tensor(space.low))
            self.register_buffer("high", torch.as_tensor(space.high))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        action = self.policy._predict(observation, deterministic=True)
        if self.squashed:
            action = self.low + (action + 1) * 0.5 * (self.high - self.low)
        return torch.maximum(torch.minimum(action, self.high), self.low) if self.boxed else action


def write_onnx(model: BaseAlgorithm, path: Path) -> None:
    """The exporter cannot follow the checks of torch's distributions, so they are off meanwhile."""
    model.policy.set_training_mode(False)
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        torch.onnx.export(
            Whole(model).eval(),
            (torch.zeros(2, *model.observation_space.shape),),
            str(path),
            input_names=["observation"],
            output_names=["action"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    finally:
        torch.distributions.Distribution.set_default_validate_args(__debug__)
    made = onnx.load(path)
    for part in (*made.graph.node, *made.graph.value_info):
        del part.metadata_props[:]  # traces of this machine's source files
    onnx.save(made, path)
