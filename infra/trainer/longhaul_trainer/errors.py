"""Why a job ends: exceptions that carry their failure class. Any other is classified by ``process/outcome.py``."""

from __future__ import annotations

from longhaul_trainer.contracts import FailureClass


class JobFailure(Exception):
    """An end of the job with a known failure class."""

    failure_class: FailureClass = "unknown"


class UserFailure(JobFailure):
    """Something only a person can change: the spec, a missing input, wrong credentials."""

    failure_class: FailureClass = "user-error"


class DataFailure(JobFailure):
    """The dataset is not what its manifest says."""

    failure_class: FailureClass = "data"


class CheckpointFailure(JobFailure):
    """No checkpoint verifies, or ``HEAD`` is missing or unreadable."""

    failure_class: FailureClass = "checkpoint"


class NumericsFailure(JobFailure):
    """Loss or gradients are not finite, or the loss is a spike by the spec's measure."""

    failure_class: FailureClass = "numerics"


class Fenced(JobFailure):
    """Another writer has taken the stage over: this attempt must not publish anything more."""

    failure_class: FailureClass = "fenced"


class DuplicateProcess(Fenced):
    """Another process runs the same attempt. Its outcome is the attempt's; this one writes none."""


class Stopped(JobFailure):
    """The job did what it was asked to: it stopped. ``cancelled`` when nobody owns the job any more."""

    def __init__(self, message: str, failure_class: FailureClass = "preempted") -> None:
        super().__init__(message)
        self.failure_class = failure_class


class StoreError(JobFailure):
    """Trouble with the object store. Never evidence of corruption."""

    failure_class: FailureClass = "store"


class NotFoundError(StoreError):
    """The store's own word that the object is not there."""


class PreconditionFailedError(StoreError):
    """A conditional write did not apply (412): someone else wrote, or this write had landed before."""


class TransientError(StoreError):
    """No usable answer: worth another try. A write may have landed."""


class OutOfRangeError(StoreError):
    """A range that the object does not have: it is shorter than thought."""


class RefusedError(StoreError):
    """The store will not do this, however often it is asked."""


class AmbiguousWriteError(StoreError):
    """A conditional write got no usable answer (timeout, reset, 5xx): it may have landed. Re-read to find out."""


class UnavailableError(StoreError):
    """The store kept failing for as long as the job may wait."""


class RefusalError(StoreError):
    """The store refuses who asks: that may pass within minutes, and is final when it ``lasted``."""

    lasted = False


class AccessError(RefusalError):
    """The store refuses these credentials. They may be renewed, for a later attempt too."""


class ClockError(RefusalError):
    """This machine's clock is wrong: another machine's may be right."""

    failure_class: FailureClass = "infrastructure"


class AddressError(StoreError):
    """There is no such bucket, or it lies elsewhere. Waiting does not help."""

    failure_class: FailureClass = "user-error"
