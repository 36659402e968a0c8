rule tables:
    input:
        records_of(STUDY.experiments),
    output:
        [
            report(
                f"{RESULTS}/tables/{name}.csv",
                caption=f"../../report/captions/table-{name}.rst",
                category="Tables",
                labels={"table": name},
            )
            for name in (
                "losses",
                "published",
                "runs",
                "metrics",
                "seeds",
                "comparisons",
                "search",
                "methods",
            )
        ],
        [f"{RESULTS}/tables/rows-{name}.csv" for name in STUDY.experiments],
        f"{RESULTS}/tables/tables.md",
        f"{RESULTS}/tables/tables.tex",
    log:
        f"{RESULTS}/logs/tables.log",
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("tables"),
        study=STUDY_FILE,
        identity=STUDY_IDENTITY,
        folder=subpath(output[0], parent=True),
    shell:
        "{params.tunebook} tables --study {params.study} --output {params.folder} 2> {log}"


rule figures:
    input:
        lambda wildcards: records_of([wildcards.experiment]),
    output:
        figures_of(has_labels=False, searched=False),
    log:
        f"{RESULTS}/logs/figures/{{experiment}}.log",
    wildcard_constraints:
        experiment=experiments_with(has_labels=False, searched=False),
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("figures"),
        study=STUDY_FILE,
        identity=lambda wildcards: identity_of(
            experiment_spec(STUDY, wildcards.experiment)
        ),
        folder=subpath(output[0], parent=True),
    shell:
        "{params.tunebook} figures --study {params.study} --experiment {wildcards.experiment} --output {params.folder}"
        " 2> {log}"


use rule figures as figures_with_labels with:
    output:
        figures_of(has_labels=True, searched=False),
    wildcard_constraints:
        experiment=experiments_with(has_labels=True, searched=False),
    localrule: True


use rule figures as figures_of_search with:
    output:
        figures_of(has_labels=False, searched=True),
    wildcard_constraints:
        experiment=experiments_with(has_labels=False, searched=True),
    localrule: True


use rule figures as figures_of_search_with_labels with:
    output:
        figures_of(has_labels=True, searched=True),
    wildcard_constraints:
        experiment=experiments_with(has_labels=True, searched=True),
    localrule: True


rule report:
    input:
        records_of(STUDY.experiments),
        [
            f"{RESULTS}/figures/{name}/{figure}"
            for name in STUDY.experiments
            for figure in figure_names(name in LABELLED, name in SEARCHED)
        ],
    output:
        report(
            f"{RESULTS}/report.html",
            caption="../../report/captions/report.rst",
            category="Report",
            labels={"study": STUDY.study},
        ),
    log:
        f"{RESULTS}/logs/report.log",
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("report"),
        study=STUDY_FILE,
        identity=STUDY_IDENTITY,
        templates=templates("*.j2", "*.css", "*.js"),
    shell:
        "{params.tunebook} report --study {params.study} --output {output} 2> {log}"


# Beside the adapter and not in it: its folder is an output of rule train, and a word of a card must not train again.
rule cards:
    input:
        records_of(STUDY.experiments),
    output:
        cards=[f"{RESULTS}/runs/{name}/model_card.md" for name in TRAINED],
        events=directory([f"{RESULTS}/runs/{name}/tensorboard" for name in TRAINED]),
    log:
        f"{RESULTS}/logs/cards.log",
    localrule: True
    conda:
        "../../envs/tunebook.yaml"
    params:
        tunebook=tunebook_command,
        code=code("cards"),
        study=STUDY_FILE,
        identity=STUDY_IDENTITY,
        templates=templates("model_card.md.j2"),
    shell:
        "{params.tunebook} cards --study {params.study} 2> {log}"
