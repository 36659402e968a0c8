"""What a person sees while a run trains: which run, step of steps, loss, time left. Details go to the log."""

from __future__ import annotations

import sys
import time

from transformers import TrainerCallback

SECONDS_BETWEEN_LINES = 10


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


class Progress(TrainerCallback):
    """Prints a line every ten seconds to standard output, and every logged figure to standard error."""

    def __init__(self, run: str) -> None:
        self.run, self.loss, self.validation = run, None, None
        self.printed = self.started = time.monotonic()
        self.first_step = 0

    def on_train_begin(self, args, state, control, **kwargs):
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.loss = logs.get("loss", self.loss)
        self.validation = logs.get("eval_loss", self.validation)
        if {"loss", "eval_loss"} & logs.keys():
            figures = "  ".join(f"{key} {value:.6g}" for key, value in logs.items() if isinstance(value, int | float))
            print(f"step {state.global_step}  {figures}", file=sys.stderr, flush=True)
        if "loss" in logs:
            self._show(state.global_step, state.max_steps)

    def _show(self, step: int, steps: int) -> None:
        now = time.monotonic()
        if step <= self.first_step or (now - self.printed < SECONDS_BETWEEN_LINES and step < steps):
            return
        self.printed = now
        left = duration((now - self.started) / (step - self.first_step) * (steps - step))
        validation = f", validation {self.validation:.3f}" if self.validation is not None else ""
        print(f"train {self.run}: step {step} of {steps}, loss {self.loss:.3f}{validation}, {left} left", flush=True)
