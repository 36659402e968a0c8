localrules:
    resolve,
    fetch_model,
    fetch_dataset,


# study.json and every run's run.json. What reads them marks them ancient: a run depends on its own identity (params), not
# on the study's file as a whole, so that a change to one experiment leaves the others alone.
rule resolve:
    output:
        study=f"{RESULTS}/study.json",
        runs=[f"{RESULTS}/runs/{name}/run.json" for name in RUNS],
    log:
        f"{RESULTS}/logs/resolve.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        config=lambda wildcards: canonical_json(config),
        folder=subpath(output.study, parent=True),
    shell:
        "python -m tunebook resolve --config {params.config:q} --output {params.folder} > {log} 2>&1"


rule fetch_model:
    input:
        lambda wildcards: local_files(STUDY.models[wildcards.model].source),
        study=ancient(f"{RESULTS}/study.json"),
        code=code("fetch-model"),
    output:
        model=directory("results/models/{model}"),
        provenance="results/models/{model}/provenance.json",
    log:
        "results/logs/fetch_model/{model}.log",
    benchmark:
        "results/benchmarks/fetch_model/{model}.tsv"
    conda:
        "../../envs/tunebook.yaml"
    params:
        identity=lambda wildcards: identity("fetch-model", wildcards.model),
    shell:
        "python -m tunebook fetch-model --study {input.study} --model {wildcards.model} --output {output.model} 2> {log}"


rule fetch_dataset:
    input:
        lambda wildcards: local_files(STUDY.datasets[wildcards.dataset].source),
        study=ancient(f"{RESULTS}/study.json"),
        code=code("fetch-dataset"),
    output:
        raw="results/datasets/{dataset}/raw.parquet",
        provenance="results/datasets/{dataset}/provenance.json",
    log:
        "results/logs/fetch_dataset/{dataset}.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        identity=lambda wildcards: identity("fetch-dataset", wildcards.dataset),
        folder=subpath(output.raw, parent=True),
    shell:
        "python -m tunebook fetch-dataset --study {input.study} --dataset {wildcards.dataset} --output {params.folder} 2> {log}"


rule prepare:
    input:
        study=ancient(f"{RESULTS}/study.json"),
        raw="results/datasets/{dataset}/raw.parquet",
        code=code("prepare"),
    output:
        multiext(
            f"{RESULTS}/datasets/{{dataset}}/",
            "train.parquet",
            "validation.parquet",
            "test.parquet",
            "rejected.csv",
            "profile.json",
        ),
    log:
        f"{RESULTS}/logs/prepare/{{dataset}}.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        identity=lambda wildcards: identity("prepare", wildcards.dataset),
        folder=subpath(output[0], parent=True),
    shell:
        "python -m tunebook prepare --study {input.study} --dataset {wildcards.dataset} --raw {input.raw}"
        " --output {params.folder} 2> {log}"


rule tokenize:
    input:
        lambda wildcards: [
            f"{dataset_of(wildcards)}/{split}.parquet"
            for split in ("train", "validation", "test")
        ],
        lambda wildcards: f"{model_of(wildcards)}/provenance.json",
        study=ancient(f"{RESULTS}/study.json"),
        code=code("tokenize"),
    output:
        tokens=directory(f"{RESULTS}/tokens/{{experiment}}"),
        lengths=f"{RESULTS}/tokens/{{experiment}}/lengths.json",
    log:
        f"{RESULTS}/logs/tokenize/{{experiment}}.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        identity=lambda wildcards: identity("tokenize", wildcards.experiment),
        dataset=dataset_of,
        model=model_of,
    shell:
        "python -m tunebook tokenize --study {input.study} --experiment {wildcards.experiment} --dataset {params.dataset}"
        " --model {params.model} --output {output.tokens} 2> {log}"
