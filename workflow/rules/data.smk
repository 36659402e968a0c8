rule fetch_model:
    input:
        lambda wildcards: local_files(STUDY.models[wildcards.model].source),
    output:
        model=directory("results/models/{model}"),
        provenance="results/models/{model}/provenance.json",
    log:
        "results/logs/fetch_model/{model}.log",
    benchmark:
        "results/benchmarks/fetch_model/{model}.tsv"
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("fetch-model"),
        study=fetched_for,
        identity=lambda wildcards: identity("fetch-model", wildcards.model),
        architecture=lambda wildcards: architecture(
            STUDY.models[wildcards.model].source
        ),
    shell:
        "{params.tunebook} fetch-model --study {params.study} --model {wildcards.model} --output {output.model} 2> {log} && "
        "{params.tunebook} trace --study {params.study} --models results/models 2>> {log}"


rule fetch_dataset:
    input:
        lambda wildcards: local_files(STUDY.datasets[wildcards.dataset].source),
    output:
        raw="results/datasets/{dataset}/raw.parquet",
        provenance="results/datasets/{dataset}/provenance.json",
    log:
        "results/logs/fetch_dataset/{dataset}.log",
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("fetch-dataset"),
        study=fetched_for,
        identity=lambda wildcards: identity("fetch-dataset", wildcards.dataset),
        folder=subpath(output.raw, parent=True),
    shell:
        "{params.tunebook} fetch-dataset --study {params.study} --dataset {wildcards.dataset} --output {params.folder} 2> {log}"


rule prepare:
    input:
        raw="results/datasets/{dataset}/raw.parquet",
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
        tunebook=tunebook_command,
        code=code("prepare"),
        study=STUDY_FILE,
        identity=lambda wildcards: identity("prepare", wildcards.dataset),
        folder=subpath(output[0], parent=True),
    shell:
        "{params.tunebook} prepare --study {params.study} --dataset {wildcards.dataset} --raw {input.raw}"
        " --output {params.folder} 2> {log}"


rule tokenize:
    input:
        lambda wildcards: [
            f"{dataset_of(wildcards)}/{split}.parquet"
            for split in ("train", "validation", "test")
        ],
        lambda wildcards: f"{model_of(wildcards)}/provenance.json",
    output:
        tokens=directory(f"{RESULTS}/tokens/{{experiment}}"),
        lengths=f"{RESULTS}/tokens/{{experiment}}/lengths.json",
    log:
        f"{RESULTS}/logs/tokenize/{{experiment}}.log",
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("tokenize"),
        study=STUDY_FILE,
        identity=lambda wildcards: identity("tokenize", wildcards.experiment),
        dataset=dataset_of,
        model=model_of,
    shell:
        "{params.tunebook} tokenize --study {params.study} --experiment {wildcards.experiment} --dataset {params.dataset}"
        " --model {params.model} --output {output.tokens} 2> {log}"
