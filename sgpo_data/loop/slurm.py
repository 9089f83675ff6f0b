"""A plan as Slurm jobs, each after the one before it; row-wise stages are arrays whose jobs fill one dataset."""

import shlex
from collections.abc import Sequence

from sgpo_data.execution import Execution
from sgpo_data.loop.plan import Step
from sgpo_data.loop.script import ShellStep, phases_of, shell_steps
from sgpo_data.running.rowwise import RowJob

HEAD = """\
#!/bin/sh
# The work of {path}, one Slurm job per step, each after the one before it: {phases}.
# Run it where sbatch is, in the folder it was printed in, which all nodes have to see as they see the root. Run again, it makes what is missing.
# What sbatch takes from the environment goes into every job: SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT. What else they ask for:
set -eu
export root={root}
root="${{1:-$root}}"
shares="${{SHARES:-8}}"                # jobs of a stage that goes row by row, each with a model of its own
rows="${{ROW_JOBS---gpus=1}}"          # what each of them takes
models="${{MODEL_JOBS---gpus=1}}"      # what a training takes, and an evaluation
tables="${{TABLE_JOBS---mem=16G}}"     # what a stage without a model takes
after=""
"""
JOB = """\
after=$(sbatch --parsable --job-name={name} {asked} --kill-on-invalid-dep=yes ${{after:+--dependency=afterok:$after}} <<'JOB'
#!/bin/sh
exec {command}
JOB
)
"""


def slurm(of: str, steps: Sequence[Step], execution: Execution) -> str:
    """A shell script that hands the steps to Slurm, as the work of a recipe."""
    head = HEAD.format(path=of, phases=phases_of(steps), root=shlex.quote(str(execution.root)))
    jobs = [line for each in shell_steps(steps, execution) for line in (*each.before, _job(each))]
    return "\n".join([head, *jobs, 'echo "$after"']) + "\n"


def _job(of: ShellStep) -> str:
    job, name = of.step.job, shlex.quote(f"{of.step.phase}-{of.step.round}-{of.step.stage.replace(' ', '-')}")
    if isinstance(job, RowJob):
        command = f'{of.command} --part-range "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"'
        return JOB.format(name=name, asked='$rows --array=1-"$shares"', command=command)
    return JOB.format(name=name, asked="$models" if job.costly else "$tables", command=of.command)
