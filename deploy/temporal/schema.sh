#!/bin/sh
# Makes and updates the databases of the Temporal server; fine to run again. Where the server is, as whom and with
# which driver: SQL_HOST, SQL_PORT, SQL_USER, SQL_PASSWORD, SQL_PLUGIN, which temporal-sql-tool reads by itself.
set -eu

versions=${SCHEMA_FOLDER:-/etc/temporal/schema}/postgresql/v12

bring_up() { # database, folder of its versions
    temporal-sql-tool --database "$1" create-database --defaultdb postgres
    temporal-sql-tool --database "$1" setup-schema --version 0.0
    temporal-sql-tool --database "$1" update-schema --schema-dir "$versions/$2/versioned"
}

bring_up temporal temporal
bring_up temporal_visibility visibility
