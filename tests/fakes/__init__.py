"""Stand-ins that work: each keeps the promises of the thing it stands for, in this process and without a model."""
