"""Is an environment one that these policies can play, and what does random play give?"""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
from gymnasium.utils.env_checker import check_env

SEED = 0
LONGEST = 100_000  # steps of an episode, where none are registered


def make(name: str) -> gymnasium.Env[Any, Any]:
    """The environment of that id; SystemExit names the parameter where there is none."""
    try:
        return gymnasium.make(name)
    except (gymnasium.error.Error, ImportError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SystemExit(f"params.yaml: env.id: {name}: {reason}") from None


def spaces(env: gymnasium.Env[Any, Any]) -> list[str]:
    """What of the environment's spaces these policies cannot read or write."""
    seen, action = env.observation_space, env.action_space
    found = []
    if not (isinstance(seen, gymnasium.spaces.Box) and len(seen.shape) == 1):
        found.append(f"observations {seen} are no list of numbers (flat Box)")
    flat = isinstance(action, gymnasium.spaces.Box) and len(action.shape) == 1
    if not (isinstance(action, gymnasium.spaces.Discrete) or flat):
        found.append(f"actions {action} are neither Discrete nor a flat Box")
    return found


def rules(name: str) -> list[str]:
    """What gymnasium's own checker has against it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_env(make(name).unwrapped, skip_render_check=True)
        except Exception as error:  # an assertion of the checker, or anything of the environment
            return [f"check_env: {' '.join(str(error).split())[:300]}"]
    return []


def must_end(env: gymnasium.Env[Any, Any], length: int) -> None:
    """SystemExit where an episode of so many steps goes on for ever: a policy may run into a wall
    that random play finds its way around, and only a step tells whether it truncates by itself."""
    registered = (env.spec.max_episode_steps if env.spec else None) or 0
    if length > max(LONGEST, registered):
        name = env.spec.id if env.spec else str(env)
        raise SystemExit(
            f"params.yaml: env.id: {name}: an episode has not ended after {length - 1} steps; "
            f'give it an end: gymnasium.register("{name}", ..., max_episode_steps=N), or let its '
            "step() truncate"
        )


def random_play(env: gymnasium.Env[Any, Any], episodes: int) -> pd.DataFrame:
    """return and length of each episode."""
    rows = []
    env.action_space.seed(SEED)
    for episode in range(episodes):
        env.reset(seed=SEED + episode)
        total, length, over = 0.0, 0, False
        while not over:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total, length, over = total + float(reward), length + 1, terminated or truncated
            must_end(env, length)
        rows.append((episode, total, length))
    return pd.DataFrame(rows, columns=["episode", "return", "length"])


def repeatable(name: str) -> list[str]:
    """Two first episodes of one seed must be the same."""
    one, other = (random_play(make(name), 1) for _ in range(2))
    return [] if one.equals(other) else ["two episodes of the same seed differ"]


def examine(name: str, episodes: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """The report, with the reasons to stop under `stops`, and episodes of random play."""
    env = make(name)
    stops = spaces(env)
    table = pd.DataFrame({"episode": [], "return": [], "length": []})
    stops = stops or rules(name) or repeatable(name)
    if not stops:
        table = random_play(env, episodes)
    if not np.isfinite(table["return"]).all():
        stops, table = ["rewards are not finite"], table[:0]
    report = {
        "env": name,
        "observation_space": str(env.observation_space)[:500],
        "action_space": str(env.action_space)[:500],
        "random_return": float(table["return"].mean()) if len(table) else None,
        "stops": stops,
    }
    return report, table
