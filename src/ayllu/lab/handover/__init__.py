"""The same runs for the tools of others (TensorBoard, MLflow, W&B), of which nothing is needed until it is used."""
