"""Provenance: what a student says of where it comes from, its signature, and the checks of both. Needs no torch.

A student's folder holds, beside its weights and tokenizer:

    README.md       the model card, rendered from the job and its result
    lineage.json    the same for machines: teachers, data, recipe, code, seed, scores, verdict, cost, files
    job.json        the job's specification, byte for byte what lineage.json has the digest of
    fidelity.html   how near it is to its teacher, what it can do and what it took, with pictures
    fidelity.json   the same for machines; students from before there was one have neither
    signer.pem      the public key of whoever signed
    model.sig       the signature over all of these, OpenSSF model-signing
    record.json     only in a bundled student: the job as its server told it. Not signed; it must agree with what is
"""

from seodang.distillation.tokenizer_files import tokenizer_sha256
from seodang.provenance.attestation import attest
from seodang.provenance.checks import Check, Outcome, TeacherFolder, check_student
from seodang.provenance.files import FIDELITY_PAGE
from seodang.provenance.graph import LineageGraph, dot, lineage_graph, mermaid
from seodang.provenance.keys import PublicKey, SigningKey
from seodang.provenance.record import Provenance, read_provenance
from seodang.provenance.recorded import recorded_job

__all__ = [
    "FIDELITY_PAGE",
    "Check",
    "LineageGraph",
    "Outcome",
    "Provenance",
    "PublicKey",
    "SigningKey",
    "TeacherFolder",
    "attest",
    "check_student",
    "dot",
    "lineage_graph",
    "mermaid",
    "read_provenance",
    "recorded_job",
    "tokenizer_sha256",
]
