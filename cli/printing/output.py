"""What commands print: data to standard output, everything else to standard error."""

import orjson

from sgpo_data.publishing.output import StageOutput


def print_made(made: StageOutput, *, as_json: bool) -> None:
    """The reference of a dataset as the last line, or its summary as one line of JSON."""
    if not as_json:
        print(made.reference)
        return
    manifest = made.manifest
    summary = {
        "reference": made.reference,
        "table": manifest.table,
        "fingerprint": manifest.fingerprint,
        "rows_in": manifest.rows_in,
        "rows": manifest.rows,
        "outcomes": manifest.outcomes,
        "facts": manifest.facts,
        "warnings": manifest.warnings,
        "seconds": manifest.seconds,
        "tokens": manifest.tokens,
    }
    print(orjson.dumps(summary).decode())
