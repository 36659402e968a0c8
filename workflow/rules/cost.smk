localrules:
    estimate,


# No output: it is made anew at each call, for it answers for the machine that it is called on. What it says must stand on
# the terminal, and estimate.csv must stay where it refuses.
rule estimate:
    input:
        code=code("estimate"),
    log:
        f"{RESULTS}/logs/estimate.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        study=STUDY_FILE,
        models="results/models",
        table=f"{RESULTS}/estimate.csv",
    shell:
        "set -o pipefail; python -m tunebook estimate --study {params.study} --models {params.models} --output {params.table} 2>&1 | tee {log}"


# Random weights lie below {study}/rehearsal, undeclared, and go when the stage ends.
rule rehearse:
    input:
        code=code("rehearse"),
    output:
        table=f"{RESULTS}/rehearsal.csv",
        report=f"{RESULTS}/rehearsal.md",
    log:
        f"{RESULTS}/logs/rehearse.log",
    conda:
        "../../envs/tunebook.yaml"
    resources:
        gpu=1,
    params:
        study=STUDY_FILE,
        identity=identity_of(resolved(STUDY)),
        models="results/models",
        folder=subpath(output.table, parent=True),
    shell:
        "python -m tunebook rehearse --study {params.study} --models {params.models} --output {params.folder} 2> {log}"
