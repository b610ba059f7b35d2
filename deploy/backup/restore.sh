#!/bin/sh
# Puts a backup of backup.sh back as the data folder of a server that is stopped:
#
#   sh restore.sh BACKUP DATA            DATA must be absent or empty
#   sh restore.sh --replace BACKUP DATA  what is in DATA is moved aside, to DATA.before-YYYYMMDDThhmmssZ, and kept
#
# The copy is verified, byte by byte and its WAL, before it becomes the data: a backup that is damaged changes nothing.
# The files get the modes PostgreSQL wants and, run by root, the owner OWNER (postgres). Start the server afterwards.
# What a restore means for purchases, and what to do next: docs/backup.md.
#
# Exit codes: 0 restored, 1 failed, 2 usage.
set -eu
umask 077

say() { echo "restore: $*" >&2; }
fail() { code=$1; shift; say "$*"; exit "$code"; }

replace=
if [ "${1:-}" = --replace ]; then
    replace=yes
    shift
fi
[ "$#" -eq 2 ] && [ -n "$1" ] && [ -n "$2" ] || fail 2 "say what to put where: sh restore.sh [--replace] BACKUP DATA"
backup=${1%/}
data=${2%/}
owner=${OWNER:-postgres}

for program in pg_verifybackup pg_waldump; do
    command -v "$program" >/dev/null || fail 1 "no program $program on PATH: run this where PostgreSQL's own are"
done
[ -f "$backup/about" ] && [ -f "$backup/data/PG_VERSION" ] ||
    fail 1 "$backup is no backup that backup.sh finished"
made_by=$(cat "$backup/data/PG_VERSION")
here=$(pg_verifybackup --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
[ "$made_by" = "$here" ] || fail 1 "the backup is of PostgreSQL $made_by, the programs here are of $here"
[ ! -e "$data/postmaster.pid" ] ||
    fail 1 "a server runs on $data, or was killed there ($data/postmaster.pid): stop it first"
if [ -d "$data" ] && [ -n "$(ls -A "$data")" ]; then
    [ -n "$replace" ] || fail 1 "$data is not empty: with --replace what is there is moved aside, and kept"
elif [ -e "$data" ] && [ ! -d "$data" ]; then
    fail 1 "$data is no folder"
fi
if [ "$(id -u)" -eq 0 ]; then
    id "$owner" >/dev/null 2>&1 || fail 1 "no account $owner here: say in OWNER who runs PostgreSQL"
fi

half=$data.restoring
mkdir -p "$(dirname "$data")"
mkdir "$half" || fail 1 "$half cannot be made: another restore is under way, or one was killed; delete it then"
trap 'rm -rf "$half"' EXIT
trap 'exit 1' HUP INT TERM

say "copying $(tr '\n' ' ' <"$backup/about")"
cp -R "$backup/data/." "$half"
say "verifying the copy"
pg_verifybackup --exit-on-error --quiet "$half" || fail 1 "the backup is damaged, nothing was changed; take another"
chmod -R u=rwX,go= "$half"
if [ "$(id -u)" -eq 0 ]; then
    chown -R "$owner" "$half"
fi
sync
if [ -d "$data" ]; then
    if [ -n "$(ls -A "$data")" ]; then
        aside=$data.before-$(date -u +%Y%m%dT%H%M%SZ)
        [ ! -e "$aside" ] || fail 1 "$aside is there already"
        mv "$data" "$aside"
        say "what was there is in $aside; delete it when nobody misses anything"
    else
        rmdir "$data"
    fi
fi
mv "$half" "$data"
say "$data is restored: start PostgreSQL, then see docs/backup.md"
