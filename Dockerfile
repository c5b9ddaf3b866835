# docker build -t tff-pipeline .
# docker run --rm tff-pipeline quickstart
# docker run --rm -v "$PWD:/work" --user "$(id -u)" tff-pipeline train \
#     --flagfile=own.flags
#
# The machines of a Ray cluster on Kubernetes run another (docs/cluster.md):
# docker build --target worker -t tff-pipeline-worker:0.1.0 .
FROM python:3.11.9-slim-bookworm AS package

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /src
# First what seldom changes: every package by its hash.
COPY requirements.txt ./
RUN pip install --no-deps --require-hashes -r requirements.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY configs configs
COPY tff_pipeline tff_pipeline
RUN pip install --no-deps --no-build-isolation . \
    && tff-pipeline --version

# Nobody's: what is trained goes to the folder that is mounted here.
RUN useradd --uid 1000 --no-create-home runner \
    && mkdir /work \
    && chown runner /work
USER 1000
WORKDIR /work

# A machine of a Ray cluster, head or worker; KubeRay says what it runs.
FROM package AS worker
USER 0
# Ray's dashboard, through which KubeRay starts and watches a job.
COPY deploy/requirements.txt /src/deploy/
RUN pip install --no-deps --require-hashes -r /src/deploy/requirements.txt \
    && ray --version \
    && openssl version
COPY deploy/host_certificate.sh /usr/local/bin/host-certificate
RUN chmod 755 /usr/local/bin/host-certificate
USER 1000
CMD ["bash"]

# The last one is what `docker build` makes without --target.
FROM package
ENTRYPOINT ["tff-pipeline"]
CMD ["--help"]
