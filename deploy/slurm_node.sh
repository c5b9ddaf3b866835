#!/usr/bin/env bash
# What slurm.sbatch runs on each node: Ray, and on the first one the training.
set -euo pipefail
umask 077

own="$CLUSTER_SECRETS/$SLURM_NODEID"
mkdir "$own"
sh "$SLURM_SUBMIT_DIR/deploy/host_certificate.sh" "$CLUSTER_SECRETS" "$own"
export RAY_USE_TLS=1
export RAY_TLS_SERVER_CERT="$own/host.crt"
export RAY_TLS_SERVER_KEY="$own/host.key"
export RAY_TLS_CA_CERT="$own/ca.crt"
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$CLUSTER_SECRETS/token"
export RAY_USAGE_STATS_ENABLED=0
# Nodes that read the packages from a shared file system need more than 30 s.
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

# On each node one processor is for Ray, and on the first one for the driver.
workers=$((SLURM_CPUS_PER_TASK > 1 ? SLURM_CPUS_PER_TASK - 1 : 1))
# shellcheck disable=SC2016  # The inner shell takes "$@".
exec ray symmetric-run --address "$CLUSTER_ADDRESS" \
  --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$workers" -- \
  sh -c 'touch "$CLUSTER_SECRETS/trained" && exec "$@"' sh \
  tff-pipeline supervise -- train --runtime=ray \
  "--ray_address=$CLUSTER_ADDRESS" \
  "--ray_workers=$((workers * SLURM_JOB_NUM_NODES))" "$@"
