#!/bin/sh
# Runs once, when PostgreSQL's data folder is made: a role and a database for Coursaga, a role for Temporal, which
# makes its own two databases. Neither is a superuser.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username postgres --dbname postgres \
    --set coursaga="$COURSAGA_DB_PASSWORD" --set temporal="$TEMPORAL_DB_PASSWORD" <<'SQL'
CREATE ROLE coursaga LOGIN PASSWORD :'coursaga';
CREATE DATABASE coursaga OWNER coursaga;
REVOKE CONNECT ON DATABASE coursaga FROM PUBLIC;
CREATE ROLE temporal LOGIN CREATEDB PASSWORD :'temporal';
SQL
