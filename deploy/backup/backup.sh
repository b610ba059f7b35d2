#!/bin/sh
# Takes a backup of a whole PostgreSQL server, Coursaga's database and Temporal's two at the same moment:
#
#   sh backup.sh FOLDER        makes FOLDER/coursaga-YYYYMMDDThhmmssZ, and prints its path
#
# pg_basebackup, and not pg_dump: dumps of three databases are of three moments, and then runs know of steps that the
# rows do not, or the other way round. Nothing needs to be stopped meanwhile. What it made is verified, byte by byte
# and its WAL, before it gets its name; one that failed leaves nothing behind. Nothing is ever overwritten.
#
# The server and the account are those of PostgreSQL's own programs: PGHOST, PGPORT, PGUSER, and the password from
# PGPASSWORD or PGPASSFILE, never from an argument. The account must be a superuser.
# DATABASES: what must be on that server for the backup to be whole.
#
# Exit codes: 0 made, 1 failed, 2 usage, 3 the server is not reachable.
set -eu
umask 077 # everything anybody bought, and the hashes of all passwords

databases=${DATABASES:-coursaga temporal temporal_visibility}

say() { echo "backup: $*" >&2; }
fail() { code=$1; shift; say "$*"; exit "$code"; }

[ "$#" -eq 1 ] && [ -n "$1" ] || fail 2 "say into which folder: sh backup.sh FOLDER"
for program in psql pg_isready pg_basebackup pg_verifybackup pg_waldump; do
    command -v "$program" >/dev/null || fail 1 "no program $program on PATH: run this where PostgreSQL's own are"
done
[ -d "$1" ] || fail 1 "$1 is no folder: make it, on another disk than the data is on"
pg_isready --quiet --timeout=10 || fail 3 "no PostgreSQL answers at ${PGHOST:-the local socket}, port ${PGPORT:-5432}"

ask() { psql --no-psqlrc --no-password --quiet --tuples-only --no-align --dbname postgres --command "$1"; }

there=$(ask "SELECT datname FROM pg_database") || fail 1 "this account cannot ask the server; see above"
for database in $databases; do
    echo "$there" | grep -qx "$database" ||
        fail 1 "there is no database $database on this server, so a backup of it would not be whole: back up the" \
            "server that has all of: $databases; or say in DATABASES what belongs to it"
done

name=coursaga-$(date -u +%Y%m%dT%H%M%SZ)
made=$1/$name
half=$1/.$name.half
[ ! -e "$made" ] || fail 1 "$made is there already, and nothing is overwritten"
mkdir "$half" || fail 1 "$half cannot be made: another backup is under way, or the folder is not ours to write to"
trap 'rm -rf "$half"' EXIT
trap 'exit 1' HUP INT TERM

say "copying the server, $(ask "SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database")"
pg_basebackup --no-password --pgdata "$half/data" --format plain --wal-method stream --checkpoint fast \
    --manifest-checksums SHA256 --label "$name" || fail 1 "pg_basebackup failed; see above"
say "verifying it"
pg_verifybackup --exit-on-error --quiet "$half/data" || fail 1 "what was copied is not whole; see above"
{
    echo "begun: $name"
    echo "PostgreSQL: $(cat "$half/data/PG_VERSION")"
    echo "databases: $databases"
} >"$half/about"
sync
mv "$half" "$made"
say "made and verified, $(du -sh "$made" | cut -f1)"
echo "$made"
