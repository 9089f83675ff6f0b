"""How far the checks of lint may go."""

from pydantic import BaseModel, ConfigDict, Field


class LintThresholds(BaseModel):
    """Check pairs or examples before a model is trained on them; exit 3 past a threshold, so that a chain stops.

    Shares are of the rows that a check can be made of. Prints a line per check, then the reference of what was checked; if one fails,
    no reference is printed, so that nothing flows on. A check only warns where there are too few rows to judge (min_rows), and less_likely always:
    a sample of the model itself is the likelier answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_rows: int = Field(20, ge=0, description="Rows below which no share says much: a value past its threshold warns, and does not fail.")
    max_length_effect: float = Field(
        0.5, ge=0, description="length_bias: greatest Cohen's d, of either sign, of the words of chosen over those of rejected; 0.5 is a medium effect."
    )
    max_longer: float = Field(0.7, ge=0, le=1, description="longer: greatest share of pairs whose chosen has more words.")
    max_near_identical: float = Field(0.02, ge=0, le=1, description="near_identical: greatest share of pairs that differ in less than min_edit.")
    min_edit: float = Field(0.05, ge=0, le=1, description="near_identical: words edited, as a share of the longer answer, below which a pair counts.")
    max_prompt_leaks: float = Field(
        0.02, ge=0, le=1, description="prompt_leak: greatest share of answers that repeat the turn they answer, of 20 characters or more, word for word."
    )
    max_reference_leaks: float = Field(
        0.02, ge=0, le=1, description="reference_leak: greatest share of rewrites that hold the whole reference; needs the filtered dataset they were made of."
    )
    max_refusals: float = Field(0.05, ge=0, le=1, description="refusal: greatest share of answers that open by declining, in English.")
    max_truncated: float = Field(0.05, ge=0, le=1, description="truncated: greatest share of answers that break off in a sentence, a word or a code block.")
    max_residue: float = Field(0.01, ge=0, le=1, description="residue: greatest share of rows with tokens or words of a template, or talk about the rewrite.")
    max_damaged: float = Field(
        0.01, ge=0, le=1, description="damaged: greatest share of rows with U+FFFD, control characters, UTF-8 read as Latin-1, or endless spaces."
    )
    max_other_script: float = Field(0.05, ge=0, le=1, description="other_script: greatest share of answers mostly in a script that the turn has no letter of.")
    max_repeated: float = Field(0.05, ge=0, le=1, description="repeated: greatest share of answers, of 5 words or more, that stand under several prompts.")
    max_empty: float = Field(0.0, ge=0, le=1, description="empty: greatest share of rows with a blank answer.")
    max_less_likely: float = Field(0.8, ge=0, le=1, description="less_likely: greatest share of pairs whose chosen is less likely per token than rejected.")
    min_distinct_2: float = Field(
        0.1, ge=0, le=1, description="distinct_2: least share of distinct pairs of words, over 20000 words of answers drawn by a hash."
    )
