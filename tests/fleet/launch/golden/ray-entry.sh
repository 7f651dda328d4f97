#!/bin/sh
exec python -m ayllu.fleet.launch.ray_nodes --nodes=4 --restarts=20 --cpus=96 --gpus=8 'export NAME='"'"'it'"'"'"'"'"'"'"'"'s'"'"'
cd /srv/jobs && env TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 torchrun --nnodes=4 --nproc-per-node=8 --max-restarts=3 --rdzv-backend=c10d --rdzv-id="$AYLLU_START" --rdzv-endpoint="$AYLLU_FIRST:$AYLLU_PORT" -m ayllu.cli run smol --budget '"'"'10 hours'"'"''
