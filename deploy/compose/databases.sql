-- one server, three databases: who restores one does not touch the others
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
CREATE DATABASE fleet;
