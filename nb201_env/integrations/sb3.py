"""Stable-Baselines3: what it needs beyond a Gymnasium environment."""

from stable_baselines3.common.callbacks import BaseCallback


class StopOnBudget(BaseCallback):
    """Ends `learn()` as soon as any environment says that its search has ended.

    Stable-Baselines3 would otherwise go on until `total_timesteps` on episodes that are truncated at their first step.
    """

    def _on_step(self) -> bool:
        return not any(info.get("budget_exhausted", False) for info in self.locals["infos"])
