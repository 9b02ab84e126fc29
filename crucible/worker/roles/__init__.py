"""What a wallet can be in a topic: inferer, forecaster, reputer."""
