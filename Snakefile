# So that plain `snakemake` works here: the workflow itself is workflow/Snakefile.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
