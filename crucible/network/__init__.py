"""The topic mechanism as pure maths; imports numpy and nothing else."""
