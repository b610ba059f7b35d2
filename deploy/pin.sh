#!/bin/sh
# Writes behind every image tag of docker-compose.yml and Dockerfile the digest the registry has for it now, so that the
# same bytes are run and built on from then on; fine to run again: it then asks anew. Needs docker with buildx.
#
#   deploy/pin.sh && git diff
set -eu

cd "$(dirname "$0")/.."

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT

pin() { # file, what stands before an image in it
    cp "$1" "$draft/now"
    for image in $(sed -nE "s/^ *$2 ([a-z0-9.\/-]+:[A-Za-z0-9._-]+)(@sha256:[0-9a-f]+)?\$/\1/p" "$1" | sort -u); do
        case $image in coursaga:*) continue ;; esac # built here
        digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
        case $digest in sha256:*) ;; *) echo "$image: the registry tells no digest but: $digest" >&2; exit 1 ;; esac
        echo "$image@$digest"
        sed -E "s|^( *$2 $image)(@sha256:[0-9a-f]+)?\$|\1@$digest|" "$draft/now" > "$draft/next"
        mv "$draft/next" "$draft/now"
    done
    cat "$draft/now" > "$1"
}

pin docker-compose.yml image:
pin Dockerfile FROM
