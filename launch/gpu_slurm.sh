#!/usr/bin/env bash
# A run on two nodes with eight GPUs each under SLURM, one process per GPU. Not run on hardware.
#   sbatch launch/gpu_slurm.sh --config=configs/transm3e.py --config.data.data_dir=/scratch/data --workdir=runs/transm3e
# Submit it from the repository, with `pip install -e '.[cuda]'` in .venv; data and workdir are on a shared disk.
#SBATCH --job-name=musclemap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append

# Two minutes before the time limit, or when it is preempted, the run saves a checkpoint and exits with status 75.
readonly STOPPED=75
# srun does not take over the number of cores from the job.
srun --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" .venv/bin/python -m musclemap_jax.main "$@" --stopped_status="$STOPPED"
status=$?
if [ "$status" -eq "$STOPPED" ]; then
  scontrol requeue "$SLURM_JOB_ID" # resumes from the checkpoint
fi
exit "$status"
