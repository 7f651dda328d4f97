"""What an assistant is measured by: everyday tasks with checkers, faults put in on purpose, and traces to replay."""
