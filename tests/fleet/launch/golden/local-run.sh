#!/bin/sh
# Starts the job, and starts it again when a signal has killed it: it goes on from its last checkpoint.
cd /srv/jobs || exit 1
export NAME='it'"'"'s'
attempt=0
while :; do
    torchrun --nnodes=1 --nproc-per-node=2 --max-restarts=3 --standalone -m ayllu.cli run smol --budget '10 hours'
    code=$?
    attempt=$((attempt + 1))
    # 128 and above: ended by a signal.
    if [ "$code" -lt 128 ] || [ "$attempt" -gt 20 ]; then break; fi
    echo "ayllu launch: ended by signal $((code - 128)), attempt $attempt of 20" >&2
    sleep 1
done
echo "$code" > /srv/jobs/.ayllu/launch/smol/exit.part && mv /srv/jobs/.ayllu/launch/smol/exit.part /srv/jobs/.ayllu/launch/smol/exit
exit "$code"
