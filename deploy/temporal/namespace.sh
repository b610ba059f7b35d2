#!/bin/sh
# Makes the namespace TEMPORAL_NAMESPACE with retention RETENTION and its search attributes; fine to run again: it
# then sets the retention and adds what is absent. Where the server is: TEMPORAL_ADDRESS.
set -eu

tries=0
until temporal operator cluster health; do
    tries=$((tries + 1))
    [ "$tries" -lt 24 ] || { echo "no Temporal server at $TEMPORAL_ADDRESS" >&2; exit 1; }
    sleep 5
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
    temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
else
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi

# A new namespace is not known to every part of the server at once.
until attributes=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE"); do
    tries=$((tries + 1))
    [ "$tries" -lt 24 ] || { echo "namespace $TEMPORAL_NAMESPACE does not answer" >&2; exit 1; }
    sleep 2
done

while read -r name type; do
    echo "$attributes" | grep -qw "$name" ||
        temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$name" --type "$type"
done <<'ATTRIBUTES'
PurchaseStage Keyword
AttentionReason Keyword
StudentId Keyword
ItemId Keyword
PaymentId Keyword
TrainerId Keyword
Origin Keyword
NeedsAttention Bool
AttentionSince Datetime
SessionsMissing Int
ATTRIBUTES
