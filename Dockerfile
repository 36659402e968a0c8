# The pinned environment, for docker or apptainer; the workflow lies in /tunebook. Build it in a clone: docker build -t tunebook .
# Run a study of the current folder: docker run --rm -v "$PWD:/work" tunebook --cores 2 --resources gpu=1
FROM python:3.11-slim
COPY envs/requirements.txt envs/lock.txt /tunebook/envs/
RUN pip install --no-cache-dir -r /tunebook/envs/requirements.txt -c /tunebook/envs/lock.txt
COPY . /tunebook
WORKDIR /work
ENTRYPOINT ["python", "-m", "snakemake", "--snakefile", "/tunebook/workflow/Snakefile"]
