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
