"""Tokens and cost of model calls, as the gateway counts them. Runs on: both sides."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt


class Usage(BaseModel):
    """Tokens and cost of one or many calls.

    `cached_tokens` are part of `input_tokens`, `reasoning_tokens` of `output_tokens`.
    """

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    calls: NonNegativeInt = 0
    input_tokens: NonNegativeInt = 0
    output_tokens: NonNegativeInt = 0
    cached_tokens: NonNegativeInt = 0
    reasoning_tokens: NonNegativeInt = 0
    cost_usd: NonNegativeFloat | None = None
    """None while prices are not known."""

    def __add__(self, other: Self) -> "Usage":
        costs = [u.cost_usd for u in (self, other) if u.cost_usd is not None]
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            # No price is finer than that, and so the sum is the true one, without binary dust.
            cost_usd=round(sum(costs), 12) if costs else None,
        )


class RunUsage(Usage):
    """The usage of a run, in all and by agent and model."""

    budget_usd: NonNegativeFloat | None = None
    """The most that the run may cost; None: no limit."""
    reserved_usd: NonNegativeFloat | None = None
    """Set aside for calls under way, beside `cost_usd`; None while prices are not known."""
    open_calls: NonNegativeInt = 0
    """Calls of a process that was killed: they count with what was set aside for them."""
    budget_note: str | None = None
    """The last warning about the budget: 80 % of a limit are used, or a budget is closed."""
    by_agent: dict[str, Usage] = Field(default_factory=dict)
    by_model: dict[str, Usage] = Field(default_factory=dict)
    nested: Usage | None = None
