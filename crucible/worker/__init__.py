"""The process that predicts, signs and submits, and the fleet that keeps it alive."""
