"""The process of an attempt: the wrapper, what the job gets and reports, and how it ends."""
