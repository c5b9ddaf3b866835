r"""Trains a run for every combination of flags, and tells which is best.

python scripts/sweep.py --flagfile=base.flags --output_dir=sweeps/1 \
    --grid client_learning_rate=0.01,0.03,0.1 --grid seed=1..5
python scripts/sweep.py --flagfile=base.flags --output_dir=sweeps/2 \
    --random=20 --range client_learning_rate=0.001:1:log --stop_hopeless

Each trial is a run in a folder of --output_dir, named by its settings; all
flags of train may be given. The same command goes on where a sweep was
stopped. At the end: trials.csv, and a page as of compare.
"""

from tff_pipeline.commands import before_start
from tff_pipeline.commands import main as commands
from tff_pipeline.flags import sweeps


def define_flags() -> None:
    """Defines the flags of this command."""
    sweeps.define_sweep_flags()


def main() -> int:
    """Trains the trials, and prints what they reached.

    Returns:
      0 if each trial ended, 1 if one failed, or 128 and the signal that
      stopped the sweep.
    """
    question = sweeps.sweep_question()
    # Here and not above: flags are refused before NumPy is imported.
    from tff_pipeline.commands import sweep, trial, trials

    folder = question.output_dir
    adaptive = question.sweep.search == "vizier"
    settings = (trials.probes if adaptive else trials.listed)(question.sweep)
    trial.check_all(
        settings,
        folder,
        sweeps.trial_config,
        before_start.check,
        question.overwrite,
    )
    if question.overwrite:
        trial.clear(folder)
    search: sweep.Search = trials.Listed(settings)
    if adaptive:
        from tff_pipeline.commands import vizier_search

        search = vizier_search.VizierSearch(
            question.sweep, str(question.metric), folder
        )
    running = sweep.Sweep(
        folder,
        search,
        sweeps.trial_config,
        commands.command_line("train"),
        parallel=question.parallel,
        metric=question.metric,
        warm_up=question.warm_up_rounds if question.stop_hopeless else None,
        overwrite=question.overwrite,
    )
    status = running.run()
    print()
    print("\n".join(running.report()))
    if status > 1:
        print("Stopped by a signal; the same command goes on.")
    return status
