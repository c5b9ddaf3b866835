"""Checks a run's log, checkpoints, metrics and exported model.

python scripts/verify.py --run_dir=runs/quickstart
python scripts/verify.py --run_dir=runs/quickstart --rerun

The log's records are chained by hashes; checkpoints, metrics.csv, privacy.json
and saved_model/ must be what it says. With --rerun everything is trained again,
and every round must give the same bits. Exit status 1 if something is not so.
"""

from tff_pipeline.flags import runs


def define_flags() -> None:
    """Defines the flags of this command."""
    runs.define_verify_flags()


def main() -> int:
    """Prints every finding; returns 1 if one does not hold."""
    run_dir, data_dir, public_key, repeat = runs.verify_question()
    # Here and not above: flags are refused before TensorFlow is imported.
    from tff_pipeline.commands import rerun, verify

    findings = verify.verify(run_dir, public_key)
    for finding in findings:
        print("ok   " if finding.holds else "WRONG", finding.text, flush=True)
    if repeat:
        for finding in rerun.rerun(run_dir, data_dir):
            findings.append(finding)
            print("ok   " if finding.holds else "WRONG", finding.text)
    return 0 if all(finding.holds for finding in findings) else 1
