"""Makes the keys, certificates and token that close a Ray cluster.

python scripts/make_certs.py --hosts=10.0.0.1,10.0.0.2 --output=certs

Writes a folder for each machine, to be copied there, and prints the variables
to set on it. The same --output later adds machines to the cluster. Keep the
folder: who has ca_key.pem can join. docs/cluster_security.md goes on.
"""

import shlex

from tff_pipeline.flags import cluster_files


def define_flags() -> None:
    """Defines the flags of this command."""
    cluster_files.define_flags()


def main() -> None:
    """Writes the files, and prints what is to be done with them."""
    question = cluster_files.question()
    # Here and not above: the package cryptography may not be installed.
    from tff_pipeline.runtime.ray import certificates

    folders = certificates.make(question.output, question.hosts, question.days)
    for host, folder in folders.items():
        print(f"{host}: copy {folder}/ to {question.folder}/")
    print("\nThen set on each machine, before ray start and before training:\n")
    for name, value in certificates.environment(question.folder).items():
        print(f"export {name}={shlex.quote(value)}")
