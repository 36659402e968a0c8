"""Losses that evaluation measures, as records. Light: tables and report import what reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RowScore:
    """Losses summed over a row, in nats: over all `tokens` that have a loss, and over the `text_tokens` among them."""

    loss: float
    tokens: int
    text_loss: float
    text_tokens: int
    text_bytes: int  # UTF-8 bytes of the text tokens

    @property
    def mean(self) -> float:
        """Nats a supervised token."""
        return self.loss / self.tokens

    @property
    def text_mean(self) -> float:
        """Nats a token of the text; NaN where the row was cut down to an end token."""
        return self.text_loss / self.text_tokens if self.text_tokens else float("nan")


@dataclass(frozen=True)
class NeutralLosses:
    """Losses on the neutral text, a value a paragraph: summed nats, and tokens that have a loss.

    `untrained_losses`: of the run's own base, quantized as the run's is; None where that is no other than the untouched model.
    `sha256`: of the text.
    """

    losses: list[float]
    untrained_losses: list[float] | None
    tokens: list[int]
    sha256: str
