#!/bin/sh
# Runs once, when PostgreSQL's data folder is made, and again whenever somebody asks: what is there stays, passwords and
# limits become those given. A database for Coursaga and the role that owns it, with which `coursaga migrate` alone
# connects; a role for each of its processes, which owns nothing and gets from migrate what it needs (db/grants.py); a
# role for Temporal, which makes its own two databases. None is a superuser.
set -eu

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set coursaga="$COURSAGA_DB_PASSWORD" --set temporal="$TEMPORAL_DB_PASSWORD" \
    --set api="$COURSAGA_API_DB_PASSWORD" --set worker="$COURSAGA_WORKER_DB_PASSWORD" \
    --set relay="$COURSAGA_RELAY_DB_PASSWORD" --set consumer="$COURSAGA_CONSUMER_DB_PASSWORD" <<'SQL'
SELECT format('CREATE ROLE %I', name)
FROM unnest('{coursaga,coursaga_api,coursaga_worker,coursaga_relay,coursaga_consumer,temporal}'::text[]) AS name
WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec

ALTER ROLE coursaga LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'coursaga';
-- An API or a consumer opens 24 connections at most, a relay 10, a worker ACTIVITY_SLOTS (10): enough for some of each.
-- Whoever runs more of them raises the limit here, and max_connections in docker-compose.yml.
ALTER ROLE coursaga_api LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 50 PASSWORD :'api';
ALTER ROLE coursaga_worker LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 60 PASSWORD :'worker';
ALTER ROLE coursaga_relay LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 20 PASSWORD :'relay';
ALTER ROLE coursaga_consumer LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 40 PASSWORD :'consumer';
ALTER ROLE temporal LOGIN CREATEDB PASSWORD :'temporal';

SELECT 'CREATE DATABASE coursaga OWNER coursaga'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'coursaga') \gexec
REVOKE CONNECT ON DATABASE coursaga FROM PUBLIC;
SQL
