# docker build -t tff-pipeline .
# docker run --rm tff-pipeline quickstart
# docker run --rm -v "$PWD:/work" --user "$(id -u)" tff-pipeline train \
#     --flagfile=own.flags
FROM python:3.11.9-slim-bookworm

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
USER runner
WORKDIR /work
ENTRYPOINT ["tff-pipeline"]
CMD ["--help"]
