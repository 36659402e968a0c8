"""What a wheel holds: the library, and inside of it the workflow, templates, default study and environment of the same version."""

from setuptools import find_packages, setup

DEPLOYED = {  # folder of the clone -> its files that tunebook/deployed/ holds
    "workflow": ["Snakefile", "rules/*.smk", "schemas/*.json", "profiles/*/*.yaml"],
    "report": ["*.j2", "*.css", "*.js", "partials/*.j2", "captions/*.rst"],
    "config": ["*.yaml", "*.md"],
    "envs": ["*.yaml", "*.txt"],
}
PACKAGES = {f"tunebook.deployed.{folder}": folder for folder in DEPLOYED}

setup(
    packages=[*find_packages("workflow"), *PACKAGES],
    package_dir={"": "workflow", **PACKAGES},
    package_data={
        "": ["*.txt", "*.json", "*/*.json", "*/*/*.json"],
        **{f"tunebook.deployed.{folder}": patterns for folder, patterns in DEPLOYED.items()},
    },
    include_package_data=False,
)
