rule evaluate:
    input:
        adapter=adapter_of,
        training=training_record_of,
        tokens=f"{RESULTS}/tokens/{{experiment}}",
        rows=lambda wildcards: [
            f"{dataset_of(wildcards)}/{split}.parquet" for split in ("train", "test")
        ],
        provenance=lambda wildcards: f"{model_of(wildcards)}/provenance.json",
    output:
        record=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/evaluation.json",
        predictions=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/predictions.parquet",
    log:
        f"{RESULTS}/logs/evaluate/{{experiment}}/{{method}}.seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{experiment}}/{{method}}.seed-{{seed}}.tsv"
    conda:
        "../../envs/tunebook.yaml"
    resources:
        gpu=1,
        mem_mb=memory_of("evaluate"),
        runtime=runtime_of("evaluate"),
    params:
        tunebook=tunebook_command,
        code=code("evaluate"),
        run=run_file,
        stage="evaluate",
        identity=lambda wildcards: identity_of(evaluation_spec(run_of(wildcards))),
        adapter=lambda wildcards, input: (
            f"--adapter {input.adapter}" if input.adapter else ""
        ),
        model=model_of,
        dataset=dataset_of,
        folder=subpath(output[0], parent=True),
    shell:
        "{params.tunebook} {params.stage} --run {params.run} --model {params.model} {params.adapter} --tokens {input.tokens}"
        " --dataset {params.dataset} --output {params.folder} 2> {log}"


use rule evaluate as sample with:
    input:
        adapter=adapter_of,
        tokens=f"{RESULTS}/tokens/{{experiment}}",
        rows=lambda wildcards: [
            f"{dataset_of(wildcards)}/{split}.parquet" for split in ("train", "test")
        ],
        provenance=lambda wildcards: f"{model_of(wildcards)}/provenance.json",
    output:
        samples=f"{RESULTS}/runs/{{experiment}}/{{method}}/seed-{{seed}}/samples.json",
    log:
        f"{RESULTS}/logs/sample/{{experiment}}/{{method}}.seed-{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sample/{{experiment}}/{{method}}.seed-{{seed}}.tsv"
    resources:
        gpu=1,
        mem_mb=memory_of("sample"),
        runtime=runtime_of("sample"),
    params:
        tunebook=tunebook_command,
        code=code("sample"),
        run=run_file,
        stage="sample",
        identity=lambda wildcards: identity_of(sampling_spec(run_of(wildcards))),
        adapter=lambda wildcards, input: (
            f"--adapter {input.adapter}" if input.adapter else ""
        ),
        model=model_of,
        dataset=dataset_of,
        folder=subpath(output[0], parent=True),


rule baseline:
    input:
        rows=lambda wildcards: [
            f"{dataset_of(wildcards)}/{split}.parquet"
            for split in ("train", "validation", "test")
        ],
    output:
        record=f"{RESULTS}/baselines/{{experiment}}.json",
        predictions=f"{RESULTS}/baselines/{{experiment}}.parquet",
    log:
        f"{RESULTS}/logs/baseline/{{experiment}}.log",
    wildcard_constraints:
        experiment=one_of(WITH_BASELINES),
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("baseline"),
        study=STUDY_FILE,
        told=lambda wildcards: {
            key: SPECS["tokenize"][wildcards.experiment][key]
            for key in ("labels", "learn")
        },
        dataset=dataset_of,
        folder=subpath(output.record, parent=True),
    shell:
        "{params.tunebook} baseline --study {params.study} --experiment {wildcards.experiment} --dataset {params.dataset}"
        " --output {params.folder} 2> {log}"
