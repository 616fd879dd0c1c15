# The report's graph: one rule a notebook (and seed). `make report` drives it through facet.execute; by hand:
#     snakemake --directory data/cache/runs/small --snakefile Snakefile --cores 2 --config profile=small
# A rule's output is a stamp whose name holds a hash of everything the notebook depends on (facet/jobs.py), so edits
# re-run and touching does not. A notebook takes as many threads as its profile says.
import sys

from facet import jobs, profiles

PROFILE = str(config.get("profile", "small"))
SEEDS = [int(s) for s in str(config.get("seeds", "none")).replace(",", " ").split() if s != "none"]
JOBS = jobs.find(PROFILE, only=str(config.get("only", "")), seeds=SEEDS)


rule all:
    input:
        [str(job.stamp) for job in JOBS],
    params:
        python=sys.executable,
        profile=PROFILE,
    shell:
        "{params.python} -m facet.execute index --profile {params.profile}"


for job in JOBS:

    rule:
        name:
            "run_" + job.name.replace("-", "_")
        output:
            str(job.stamp),
        params:
            python=sys.executable,
            notebook=job.notebook.stem,
            profile=PROFILE,
            seed="" if job.seed is None else f"--seed {job.seed}",
        threads: profiles.load(PROFILE).threads
        shell:
            "{params.python} -m facet.execute run {params.notebook} --profile {params.profile} {params.seed}"
