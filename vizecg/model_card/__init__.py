"""The bundle in words: what the model is for, how good it is, and what it must not be used for."""

from vizecg.model_card.card import write

__all__ = ["write"]
