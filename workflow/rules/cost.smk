# No output: it is made anew at each call, for it answers for the machine that it is called on. What it says must stand on
# the terminal, and estimate.csv must stay where it refuses.
rule estimate:
    log:
        f"{RESULTS}/logs/estimate.log",
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("estimate"),
        study=STUDY_FILE,
        models="results/models",
        table=f"{RESULTS}/estimate.csv",
    shell:
        "{params.tunebook} estimate --study {params.study} --models {params.models} --output {params.table} 2>&1 | tee {log}"


# Random weights lie below {study}/rehearsal, undeclared, and go when the stage ends.
rule rehearse:
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
        tunebook=tunebook_command,
        code=code("rehearse"),
        study=STUDY_FILE,
        identity=STUDY_IDENTITY,
        models="results/models",
        folder=subpath(output.table, parent=True),
    shell:
        "{params.tunebook} rehearse --study {params.study} --models {params.models} --output {params.folder} 2> {log}"
