# Checkpoints lie in a folder that no rule declares: Snakemake deletes the outputs of a failed job, and a stopped run must
# go on where it was. The command keys them by all that determines the weights.
rule train:
    input:
        tokens=f"{RESULTS}/tokens/{{experiment}}",
        provenance=lambda wildcards: f"{model_of(wildcards)}/provenance.json",
    output:
        adapter=directory(
            f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/adapter"
        ),
        history=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/history.csv",
        validation=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/validation.parquet",
        record=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/training.json",
    log:
        f"{RESULTS}/logs/train/{{experiment}}/{{method}}.seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{experiment}}/{{method}}.seed-{{seed}}.tsv"
    wildcard_constraints:
        experiment=one_of(name for name in STUDY.experiments if name not in SEARCHED),
    conda:
        "../../envs/tunebook.yaml"
    resources:
        gpu=gpus_of,
        mem_mb=memory_of("train"),
        runtime=runtime_of("train"),
    params:
        code=code("train"),
        run=run_file,
        identity=lambda wildcards: run_of(wildcards).spec["identity"],
        model=model_of,
        checkpoints=lambda wildcards: f"{RESULTS}/checkpoints",
        folder=subpath(output.record, parent=True),
        launcher=launcher,
        limit=lambda wildcards, resources: time_limit(resources),
    shell:
        "{params.launcher} train --run {params.run} --model {params.model} --tokens {input.tokens}"
        " --checkpoints {params.checkpoints} --output {params.folder} {params.limit} 2> {log}"


use rule train as trial with:
    output:
        adapter=directory(
            f"{RESULTS}/runs/{{experiment}}/{{method}}/trial-{{trial}}/seed-{{seed}}/adapter"
        ),
        history=f"{RESULTS}/runs/{{experiment}}/{{method}}/trial-{{trial}}/seed-{{seed}}/history.csv",
        validation=f"{RESULTS}/runs/{{experiment}}/{{method}}/trial-{{trial}}/seed-{{seed}}/validation.parquet",
        record=f"{RESULTS}/runs/{{experiment}}/{{method}}/trial-{{trial}}/seed-{{seed}}/training.json",
    log:
        f"{RESULTS}/logs/train/{{experiment}}/{{method}}.trial-{{trial}}.seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{experiment}}/{{method}}.trial-{{trial}}.seed-{{seed}}.tsv"
    wildcard_constraints:
        experiment=one_of(SEARCHED),


# Which trial is chosen, and so which one is trained with the other seeds, is known only once all have ended.
checkpoint select:
    input:
        rung_of,
    output:
        f"{RESULTS}/runs/{{experiment}}/{{method}}/search.json",
    log:
        f"{RESULTS}/logs/select/{{experiment}}/{{method}}.log",
    wildcard_constraints:
        experiment=one_of(SEARCHED),
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("select"),
        study=STUDY_FILE,
        trials=trial_names,
    shell:
        "{params.tunebook} select --study {params.study} --experiment {wildcards.experiment} --method {wildcards.method}"
        " --output {output} 2> {log}"


# `use rule` would make a plain rule of it
checkpoint select_rung:
    input:
        lambda wildcards: rung_of(wildcards, int(wildcards.rung)),
    output:
        f"{RESULTS}/runs/{{experiment}}/{{method}}/rung-{{rung}}.json",
    log:
        f"{RESULTS}/logs/select/{{experiment}}/{{method}}.rung-{{rung}}.log",
    wildcard_constraints:
        experiment=one_of(SEARCHED),
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("select"),
        study=STUDY_FILE,
        trials=trial_names,
    shell:
        "{params.tunebook} select --study {params.study} --experiment {wildcards.experiment} --method {wildcards.method}"
        " --rung {wildcards.rung} --output {output} 2> {log}"


rule adopt:
    input:
        lambda wildcards: multiext(
            f"{chosen_trial(wildcards)}/",
            "training.json",
            "adapter",
            "history.csv",
            "validation.parquet",
        ),
    output:
        adapter=directory(
            f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/adapter"
        ),
        history=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/history.csv",
        validation=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/validation.parquet",
        record=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/training.json",
    log:
        f"{RESULTS}/logs/adopt/{{experiment}}/{{method}}.seed-{{seed}}.log",
    wildcard_constraints:
        experiment=one_of(SEARCHED),
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("adopt"),
        run=run_file,
        identity=lambda wildcards: run_of(wildcards).spec["identity"],
        trial=subpath(input[0], parent=True),
        folder=subpath(output.record, parent=True),
    shell:
        "{params.tunebook} adopt --run {params.run} --trial {params.trial} --output {params.folder} 2> {log}"
