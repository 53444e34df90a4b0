"""The wire contract: what requests may hold and what answers do hold, in marshmallow and nothing else."""
