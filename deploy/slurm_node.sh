#!/usr/bin/env bash
# What slurm.sbatch runs: `ray` on each node, then `train FLAGS` on the first.
set -euo pipefail
umask 077

own="$CLUSTER_SECRETS/${SLURM_NODEID:-0}"
export RAY_USE_TLS=1
export RAY_TLS_SERVER_CERT="$own/host.crt"
export RAY_TLS_SERVER_KEY="$own/host.key"
export RAY_TLS_CA_CERT="$own/ca.crt"
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="$CLUSTER_SECRETS/token"
export RAY_USAGE_STATS_ENABLED=0

# On each node one processor is for Ray, and on the first one for the driver.
cpus=$((SLURM_CPUS_PER_TASK > 1 ? SLURM_CPUS_PER_TASK - 1 : 1))

if [ "$1" = train ]; then
  exec tff-pipeline supervise -- train --runtime=ray \
    "--ray_address=$CLUSTER_ADDRESS" \
    "--ray_workers=$((cpus * SLURM_JOB_NUM_NODES))" "${@:2}"
fi

mkdir "$own"
sh "$SLURM_SUBMIT_DIR/deploy/host_certificate.sh" "$CLUSTER_SECRETS" "$own"
if [ "$SLURM_NODEID" = 0 ]; then
  ray start --head --node-ip-address="${CLUSTER_ADDRESS%:*}" \
    --port="${CLUSTER_ADDRESS##*:}" --num-cpus="$cpus" \
    --include-dashboard=false --block &
else
  until [ -e "$CLUSTER_SECRETS/0/ready" ]; do sleep 1; done
  ray start --address="$CLUSTER_ADDRESS" --num-cpus="$cpus" --block &
fi
ray_start=$!
trap 'kill "$ray_start"' TERM
if [ "$SLURM_NODEID" = 0 ]; then
  until ray health-check --address "$CLUSTER_ADDRESS" >/dev/null 2>&1; do
    kill -0 "$ray_start"
    sleep 1
  done
  touch "$own/ready"
fi
wait "$ray_start"
