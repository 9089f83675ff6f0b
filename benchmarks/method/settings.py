"""The settings of the experiment, as they were chosen on development seeds (101 and up) before any seed of it was run."""

from method.recipes import Settings

FROZEN = Settings(sft_epochs={300: 16, 1000: 8})
