-- PostgreSQL runs this once, when its volume is empty.
CREATE DATABASE mlflow;
CREATE DATABASE ledger;
CREATE DATABASE prefect;
