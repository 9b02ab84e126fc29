"""MLflow tracking and registry behind one thin adapter; the only package that imports mlflow."""
