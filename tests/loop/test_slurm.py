"""Claims about the printed Slurm script: it makes what a run makes, one job after the other, shares side by side."""

import os
import subprocess
from pathlib import Path

from killing import assert_equal
from warm import warm_path

from sgpo_data.execution import Execution
from sgpo_data.loop.loop import run_recipe
from sgpo_data.loop.slurm import slurm
from sgpo_data.store.dataset import faults, open_dataset
from sgpo_data.toy.__main__ import prompts
from sgpo_data.toy.model import base_model

RECIPE = """
model = "model"
[[phases]]
name = "policy"
[phases.source]
path = "prompts.jsonl"
[phases.seed]
sampling.max_tokens = 32
[phases.improve]
role = "improve"
sampling.max_tokens = 32
[phases.score-ppl]
[phases.filter]
gates.min_edited_words = 1
gates.min_edit = 0.0
ppl.k = 3.0
[phases.pair]
"""
SBATCH = """\
#!/bin/sh
# As sbatch does with --parsable, an array and a script on its standard input; a job that fails ends it, in place of one that never begins.
echo "$*" >> sbatch.log
cat > job.sh
tasks=$(printf '%s\\n' "$@" | sed -n 's/^--array=1-//p')
if [ -z "$tasks" ]; then sh job.sh >> out.txt 2>&1 || exit 1; fi
for task in $(seq 1 "${tasks:-0}"); do
    SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$tasks sh job.sh >> out.txt 2>&1 &
    all="$all $!"
done
for each in $all; do wait "$each" || exit 1; done
wc -l < sbatch.log
"""


def test_the_jobs_make_what_a_run_makes(tmp_path: Path) -> None:
    base_model(tmp_path / "model")
    prompts(rows=26, output=tmp_path / "prompts.jsonl")
    (tmp_path / "x.toml").write_text(RECIPE)
    how = Execution(root=tmp_path / "runs", part_rows=5, progress="none")
    ran = run_recipe(tmp_path / "x.toml", how)
    steps = [each.step for each in ran]
    text = slurm("x.toml", steps, how)
    path = warm_path(tmp_path / "bin")
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(0o755)
    environment = {**os.environ, "PATH": path, "SHARES": "3"}
    command = ["sh", "-s", str(tmp_path / "other root")]
    done = subprocess.run(command, input=text, text=True, capture_output=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, (tmp_path / "out.txt").read_text()
    assert done.stdout == "5\n"
    other = how.model_copy(update={"root": tmp_path / "other root"})
    for step in steps:
        ours, theirs = (open_dataset(root / step.job.name) for root in (other.store, how.store))
        assert faults(ours) == []
        assert_equal(ours.scan().collect(), theirs.scan().collect())
    jobs = (tmp_path / "sbatch.log").read_text().splitlines()
    assert [job.split("--dependency=")[-1].split()[0] for job in jobs[1:]] == [f"afterok:{number}" for number in range(1, 5)]
    assert ["--array=1-3" in job for job in jobs] == [True, True, True, False, False]
    assert ["--gpus=1" in job for job in jobs] == [True, True, True, False, False]
    assert "--job-name=policy-1-seed" in jobs[0]
